import { z } from 'zod';

/** The `fetch` that a caller brings: the browser's, Node's, or the kernel's guarded one. */
export type Fetch = (
  url: string,
  init?: { method?: string; headers?: Record<string, string>; body?: string },
) => Promise<Response>;

/** An answer that is not the one that was asked for; `code` is the server's own word for it. */
export class IdentityRequestError extends Error {
  override readonly name = 'IdentityRequestError';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface UserTokenRequest {
  /** As in `iss`, without a trailing slash. */
  issuer: string;
  fetch: Fetch;
  clientId: string;
  /**
   * A JWT (RFC 7523) signed with the client's registered key. Claims: `iss` the client id, `sub` the user name, `aud` the
   * issuer, `iat`, `exp` at most 60 seconds later, `jti` never used before. Header: `alg` RS256 or ES256.
   */
  assertion: string;
  /** Space-separated. Without it: everything that the user has and the client may ask for. */
  scope?: string;
  /** One or several, as a list or separated by spaces. Without it: every audience that the client may ask for. */
  audience?: string | readonly string[];
}

const tokenAnswerSchema = z.object({
  access_token: z.string(),
  token_type: z.string(),
  expires_in: z.number(),
  scope: z.string().optional(),
});

export interface UserToken {
  readonly accessToken: string;
  /** Seconds from now. */
  readonly expiresIn: number;
  readonly scopes: readonly string[];
}

/**
 * An access token for a user, by the JWT bearer grant that the development profile gives to `weft-cli`.
 *
 * @throws {IdentityRequestError} with the `error` of RFC 6749 as its code
 */
export async function requestUserToken(request: UserTokenRequest): Promise<UserToken> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    client_id: request.clientId,
    assertion: request.assertion,
  });
  if (request.scope !== undefined) form.set('scope', request.scope);
  for (const audience of [request.audience ?? []].flat()) form.append('audience', audience);
  const response = await request.fetch(`${request.issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: form.toString(),
  });
  const answer = tokenAnswerSchema.parse(await readJson(response));
  const scopes = (answer.scope ?? request.scope ?? '').split(' ').filter((scope) => scope !== '');
  return { accessToken: answer.access_token, expiresIn: answer.expires_in, scopes };
}

const identitySchema = z.looseObject({
  sub: z.string(),
  iss: z.string(),
  last_seen: z.number().optional(),
  display_name: z.string().nullish(),
});

const mappingSchema = z.object({
  internal: identitySchema.extend({ username: z.string() }),
  external: z.array(identitySchema),
});

/** Who a federated identity is at a site: the mapping object of the ALISE API v1. */
export type Mapping = z.output<typeof mappingSchema>;

const supportedIssuersSchema = z.object({
  supported_issuers: z.object({
    internal: z.array(z.object({ name: z.string(), iss: z.string() })),
    external: z.array(z.object({ name: z.string(), iss: z.string() })),
  }),
});

export type SupportedIssuers = z.output<typeof supportedIssuersSchema>['supported_issuers'];

export interface AliseClientOptions {
  /** Without a trailing slash. */
  url: string;
  fetch: Fetch;
  /** A token with the scope `alise.mapping:<site>` for this service; or an API key, as the original ALISE wants. */
  credential: { token: () => Promise<string> } | { apiKey: string };
}

export interface AliseClient {
  /** The local account behind `(issuer, subject)`, or `undefined` when nobody has linked it. */
  findMapping(site: string, issuer: string, subject: string): Promise<Mapping | undefined>;
  supportedIssuers(): Promise<SupportedIssuers>;
}

/** Speaks the ALISE API v1, to Weft or to an original ALISE. */
export function createAliseClient({ url, fetch, credential }: AliseClientOptions): AliseClient {
  async function get(path: string): Promise<Response> {
    if ('apiKey' in credential) {
      return fetch(`${url}/api/v1${path}?apikey=${encodeURIComponent(credential.apiKey)}`);
    }
    return fetch(`${url}/api/v1${path}`, {
      headers: { authorization: `Bearer ${await credential.token()}` },
    });
  }

  return {
    async findMapping(site, issuer, subject) {
      const user = encodeURIComponent(subject);
      const response = await get(
        `/target/${encodeURIComponent(site)}/mapping/issuer/${await sha1(issuer)}/user/${user}`,
      );
      if (response.status === 401) {
        const refusal = refusalSchema.safeParse(
          await response
            .clone()
            .json()
            .catch(() => undefined),
        );
        if (refusal.data?.detail[0]?.type === 'not-mapped') return undefined;
      }
      return mappingSchema.parse(await readJson(response));
    },
    async supportedIssuers() {
      return supportedIssuersSchema.parse(await readJson(await get('/alise/supported_issuers')))
        .supported_issuers;
    },
  };
}

const refusalSchema = z.object({ detail: z.array(z.object({ msg: z.string(), type: z.string() })) });
const oauthErrorSchema = z.object({ error: z.string(), error_description: z.string().optional() });

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new IdentityRequestError(
      response.status,
      'not-json',
      `${response.url} answered ${response.status} without JSON.`,
    );
  }
  if (response.ok) return body;
  const oauth = oauthErrorSchema.safeParse(body).data;
  const refusal = refusalSchema.safeParse(body).data?.detail[0];
  const code = oauth?.error ?? refusal?.type ?? 'refused';
  const reason = oauth?.error_description ?? refusal?.msg ?? code;
  throw new IdentityRequestError(
    response.status,
    code,
    `The identity service answered ${response.status}: ${reason}`,
  );
}

/** The original wants issuers by the SHA-1 of their URL, lower-case hexadecimal (brief alise-aai 2.1). */
async function sha1(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-1', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export interface AdministratorOptions {
  issuer: string;
  fetch: Fetch;
  /** An access token for the issuer with the scope `iam:admin.write`. */
  token: string;
}

/** Cuts a user (subject or name) off everywhere within a second, or lets the user in again. */
export async function setSuspension(
  { issuer, fetch, token }: AdministratorOptions,
  user: string,
  suspended: boolean,
): Promise<void> {
  const response = await fetch(`${issuer}/api/v2/users/${encodeURIComponent(user)}/suspension`, {
    method: suspended ? 'PUT' : 'DELETE',
    headers: { authorization: `Bearer ${token}`, accept: 'application/json' },
  });
  if (!response.ok) await readJson(response);
}

const keyReplacementSchema = z.object({ active: z.string(), removed: z.array(z.string()) });

/**
 * Lets a new key sign from now on. With `leaked`, older keys are removed at once, with every token that they signed.
 *
 * @returns ids (`kid`) of the new key and of those that were removed
 */
export async function replaceSigningKey(
  { issuer, fetch, token }: AdministratorOptions,
  leaked: boolean,
): Promise<z.output<typeof keyReplacementSchema>> {
  const response = await fetch(`${issuer}/api/v2/keys/rotation`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json',
    },
    body: JSON.stringify({ leaked }),
  });
  return keyReplacementSchema.parse(await readJson(response));
}
