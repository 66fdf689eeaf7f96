import { z } from 'zod';
import { WeftError } from '../errors/index.ts';
import type { FetchInit, GuardedFetch } from '../http/index.ts';
import type { TrustedIssuer } from './types.ts';

/** What an issuer says about itself (OpenID Connect Discovery 1.0 section 3), as far as verification needs it. */
export type Discovery = z.output<typeof discoverySchema>;

/** Brief alise-aai 3.2. */
const REQUEST_TIMEOUT_MILLISECONDS = 5_000;
const MAXIMUM_BODY_BYTES = 512 * 1024;

const discoverySchema = z.object({
  issuer: z.string(),
  jwks_uri: z.string(),
  introspection_endpoint: z.string().exactOptional(),
  userinfo_endpoint: z.string().exactOptional(),
});

/**
 * Reads the discovery document of an issuer.
 *
 * @throws {WeftError} `upstream`, when it does not come, or speaks of another issuer
 */
export async function discover(issuer: TrustedIssuer, fetch: GuardedFetch): Promise<Discovery> {
  const base = issuer.issuer.replace(/\/$/, '');
  const response = await askIssuer(fetch, `${base}/.well-known/openid-configuration`);
  const discovery = await readJson(response, discoverySchema);
  if (discovery.issuer === issuer.issuer || discovery.issuer === issuer.alternative) return discovery;
  throw new WeftError(
    'upstream',
    'issuer-mismatch',
    `${base} calls itself ${JSON.stringify(discovery.issuer)}.`,
  );
}

/** One bounded request to an issuer, over https except on this machine, following no redirect. */
export async function askIssuer(fetch: GuardedFetch, url: string, init: FetchInit = {}): Promise<Response> {
  requireSafeUrl(url);
  return fetch(url, {
    ...init,
    headers: { accept: 'application/json', ...init.headers },
    redirect: 'error',
    timeoutMilliseconds: REQUEST_TIMEOUT_MILLISECONDS,
    maximumBytes: MAXIMUM_BODY_BYTES,
  });
}

/** @throws {WeftError} `upstream`, code `issuer-answer`, unless the answer is 200 */
export async function readJson<Schema extends z.ZodType>(
  response: Response,
  schema: Schema,
): Promise<z.output<Schema>> {
  if (response.status === 200) return schema.parse(await response.json());
  await response.body?.cancel();
  throw new WeftError('upstream', 'issuer-answer', `${response.url} answered ${response.status}.`);
}

function requireSafeUrl(url: string): void {
  const { protocol, hostname } = new URL(url);
  const loopback = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  if (protocol === 'https:' || (protocol === 'http:' && loopback)) return;
  throw new WeftError('upstream', 'issuer-insecure', `${url} is not https.`);
}
