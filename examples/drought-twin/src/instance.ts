import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import { z } from 'zod';
import { type Component, StepFailure } from './tour.ts';

const run = promisify(execFile);

const siteSchema = z.object({
  storage: z.string(),
  rse: z.string(),
  compute: z.string().optional(),
  node: z.string().optional(),
});
const endpointsSchema = z.object({
  datalake: z.string(),
  transfer: z.string(),
  identity: z.string(),
  issuer: z.string(),
  orchestrator: z.string(),
  accounting: z.string(),
  sites: z.record(z.string(), siteSchema),
  ca: z.string(),
});
export type Endpoints = z.output<typeof endpointsSchema>;
export type Site = z.output<typeof siteSchema> & { readonly name: string };

export type User = 'alice' | 'obs-bot' | 'admin';

/** A running instance, as its users know it: addresses and tokens come from the `weft` command. */
export interface Instance {
  readonly endpoints: Endpoints;
  readonly sites: readonly Site[];
  site(name: string): Site;
  /** Gives tokens of one user for one audience; each is used until a minute before its end. */
  tokens(user: User, audience: string, scope?: string): () => Promise<string>;
  /** @throws {StepFailure} naming the component, when nobody answers at `url`. */
  requireComponent(component: Component, url: string): Promise<void>;
}

/** Asks `weft endpoints` where things are, and trusts the instance's certificate authority from now on. */
export async function openInstance(weft: string, data: string): Promise<Instance> {
  const ask = async (command: string, ...more: string[]): Promise<string> => {
    const { stdout } = await run(weft, [command, '--data', data, ...more]);
    return stdout.trim();
  };
  const endpoints = endpointsSchema.parse(JSON.parse(await ask('endpoints', '--json')));
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(endpoints.ca, 'utf8')]);
  const sites = Object.entries(endpoints.sites).map(([name, site]) => ({ name, ...site }));
  const givers = new Map<string, () => Promise<string>>();

  return {
    endpoints,
    sites,
    site(name) {
      const site = sites.find((each) => each.name === name);
      if (site === undefined) throw new StepFailure(`The instance has no site ${name}.`);
      return site;
    },
    tokens(user, audience, scope) {
      const key = JSON.stringify([user, audience, scope]);
      const known = givers.get(key);
      if (known !== undefined) return known;
      const more = scope === undefined ? [] : ['--scope', scope];
      let current: Promise<string> | undefined;
      let usableUntil = 0;
      const give = async () => {
        // Many requests may ask at once; one of them fetches.
        if (current === undefined || Date.now() > usableUntil) {
          usableUntil = Number.POSITIVE_INFINITY;
          current = ask('token', '--user', user, '--audience', audience, ...more);
          current.then(
            (token) => {
              usableUntil = claimsOf(token).exp * 1000 - 60_000;
            },
            () => {
              usableUntil = 0;
            },
          );
        }
        return current;
      };
      givers.set(key, give);
      return give;
    },
    async requireComponent(component, url) {
      const failure = (why: string) =>
        new StepFailure(`${component} does not answer at ${url}: ${why}`, component);
      let response: Response;
      try {
        response = await fetch(`${url}/.weft/ready`, { signal: AbortSignal.timeout(10_000) });
      } catch (error) {
        throw failure(
          error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error),
        );
      }
      await response.body?.cancel();
      if (!response.ok) throw failure(`status ${response.status}`);
    },
  };
}

const claimsSchema = z.object({
  iss: z.string(),
  sub: z.string(),
  aud: z.union([z.string(), z.array(z.string())]),
  exp: z.number(),
  scope: z.string().default(''),
});

/** What stands in an access token; only whoever it is for may rely on that. */
export function claimsOf(token: string): z.output<typeof claimsSchema> {
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
  return claimsSchema.parse(JSON.parse(payload));
}
