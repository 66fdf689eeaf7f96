import { readFileSync } from 'node:fs';
import { satisfiesEntitlement } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import * as oidc from 'openid-client';
import type { AliseConfig, ProviderConfig, SiteConfig } from '../../config.ts';
import type { PersonClaims } from '../../db/schema.ts';
import { personClaimsOf, textOf, textsOf } from './person-claims.ts';

/** Site authentication must be younger than this when a link is made (brief alise-aai 3.6). */
export const FRESH_SECONDS = 15 * 60;

export type ProviderKind = 'internal' | 'external';

/** What a provider says about a person who has signed in there. */
export interface PersonSeen {
  readonly subject: string;
  readonly username: string | undefined;
  readonly displayName: string | undefined;
  readonly authTime: Date;
  readonly claims: PersonClaims;
}

/** The secrets of one way to a provider and back. */
export interface Transit {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface SiteProviders {
  site(name: string): SiteConfig | undefined;
  find(site: string, kind: ProviderKind, provider: string): ProviderConfig | undefined;
  /** Where the browser has to go. `fresh`: the person must sign in again, whatever session the provider has. */
  addressOf(provider: ProviderConfig, transit: Transit, fresh: boolean): Promise<URL>;
  /** @throws {WeftError} `forbidden` when the provider or a check says no; `unavailable` when it does not answer. */
  redeem(provider: ProviderConfig, callback: URL, transit: Transit, fresh: boolean): Promise<PersonSeen>;
  /** What the provider says about the owner of an access token of its own. */
  userInfo(
    provider: ProviderConfig,
    accessToken: string,
    subject: string,
  ): Promise<Readonly<Record<string, unknown>>>;
  /** Where a person can end her session at the provider; `undefined` when it offers none, or does not answer. */
  signOutAddress(provider: ProviderConfig): Promise<string | undefined>;
}

/** Signs people in at the providers of the sites. Discovery happens at first use: a provider that is down stops nobody else. */
export function createSiteProviders({ sites, url }: AliseConfig, fetch: GuardedFetch): SiteProviders {
  const redirectUri = `${url}/callback`;
  const discovered = new Map<string, Promise<oidc.Configuration>>();

  async function clientOf(provider: ProviderConfig): Promise<oidc.Configuration> {
    const key = `${provider.issuer} ${provider.client_id}`;
    const known = discovered.get(key);
    if (known !== undefined) return known;
    const pending = discover(provider, fetch);
    discovered.set(key, pending);
    // The next visitor tries again.
    pending.catch(() => discovered.delete(key));
    return pending;
  }

  return {
    site: (name) => sites.find((site) => site.name === name),
    find: (name, kind, wanted) =>
      sites
        .find((site) => site.name === name)
        ?.[kind].find((each) => each.name === wanted && each.client_id !== undefined),
    async addressOf(provider, transit, fresh) {
      const client = await reachable(provider, clientOf(provider));
      return oidc.buildAuthorizationUrl(client, {
        redirect_uri: redirectUri,
        scope: provider.scopes.join(' '),
        state: transit.state,
        nonce: transit.nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(transit.verifier),
        code_challenge_method: 'S256',
        ...(fresh ? { prompt: 'login', max_age: String(FRESH_SECONDS) } : {}),
      });
    },
    async redeem(provider, callback, transit, fresh) {
      const client = await reachable(provider, clientOf(provider));
      const tokens = await accepted(
        provider,
        oidc.authorizationCodeGrant(client, callback, {
          pkceCodeVerifier: transit.verifier,
          expectedState: transit.state,
          expectedNonce: transit.nonce,
          idTokenExpected: true,
          ...(fresh ? { maxAge: FRESH_SECONDS } : {}),
        }),
      );
      const idToken = tokens.claims();
      if (idToken === undefined) throw refusal(provider, 'it sent no ID token');
      const info =
        client.serverMetadata().userinfo_endpoint === undefined
          ? {}
          : await accepted(provider, oidc.fetchUserInfo(client, tokens.access_token, idToken.sub));
      const claims: Record<string, unknown> = { ...info, ...idToken };
      requirePolicy(provider, claims);
      return {
        subject: idToken.sub,
        username: textOf(claims[provider.username_claim]),
        displayName: textOf(claims.name) ?? textOf(claims.preferred_username),
        authTime: new Date((idToken.auth_time ?? idToken.iat) * 1000),
        claims: personClaimsOf(claims),
      };
    },
    async userInfo(provider, accessToken, subject) {
      const client = await reachable(provider, clientOf(provider));
      if (client.serverMetadata().userinfo_endpoint === undefined) return {};
      return accepted(provider, oidc.fetchUserInfo(client, accessToken, subject));
    },
    async signOutAddress(provider) {
      const client = await clientOf(provider).catch(() => undefined);
      return client?.serverMetadata().end_session_endpoint;
    },
  };
}

async function discover(provider: ProviderConfig, fetch: GuardedFetch): Promise<oidc.Configuration> {
  const secret =
    provider.client_secret?.reveal() ??
    (provider.client_secret_file === undefined
      ? undefined
      : readFileSync(provider.client_secret_file, 'utf8').trim());
  const client = await oidc.discovery(
    new URL(provider.issuer),
    // Userinfo needs no client.
    provider.client_id ?? 'linking',
    undefined,
    secret === undefined ? oidc.None() : oidc.ClientSecretBasic(secret),
    {
      // The signature of ID tokens too, although TLS covers it (brief alise-aai 3.6).
      execute: [oidc.enableNonRepudiationChecks],
      [oidc.customFetch]: (url, { method, headers, redirect, body, signal }) =>
        fetch(url, {
          method,
          headers,
          redirect,
          body: body instanceof URLSearchParams ? body.toString() : typeof body === 'string' ? body : null,
          ...(signal === undefined ? {} : { signal }),
        }),
    },
  );
  if (client.serverMetadata().issuer !== provider.issuer)
    throw refusal(provider, 'it says that it is another issuer');
  return client;
}

/** @throws {WeftError} `forbidden` */
function requirePolicy(provider: ProviderConfig, claims: Readonly<Record<string, unknown>>): void {
  const assurance = textsOf(claims.eduperson_assurance);
  const missing = provider.required_assurance.find((each) => !assurance.includes(each));
  if (missing !== undefined) throw refusal(provider, `it does not vouch for you with ${missing}`);
  if (provider.require_verified_email && claims.email_verified !== true)
    throw refusal(provider, 'it has not verified your e-mail address');
  const entitlements = [...textsOf(claims.eduperson_entitlement), ...textsOf(claims.entitlements)];
  const lacking = provider.required_entitlements.find(
    (needed) => !entitlements.some((held) => satisfiesEntitlement(held, needed)),
  );
  if (lacking !== undefined) throw refusal(provider, `you are not in ${lacking}`);
}

async function reachable<Result>(provider: ProviderConfig, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof WeftError && cause.kind === 'forbidden') throw cause;
    throw new WeftError(
      'unavailable',
      'provider-unavailable',
      `${provider.title ?? provider.name} does not answer now. Try again in a minute.`,
      { cause },
    );
  }
}

/** A provider that answers with an error, or whose answer fails a check. */
async function accepted<Result>(provider: ProviderConfig, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof oidc.AuthorizationResponseError)
      throw refusal(provider, `it says: ${cause.error_description ?? cause.error}`, cause);
    throw refusal(provider, 'its answer is not right', cause);
  }
}

function refusal(provider: ProviderConfig, reason: string, cause?: unknown): WeftError {
  return new WeftError(
    'forbidden',
    'provider-refused',
    `You could not be signed in at ${provider.title ?? provider.name}: ${reason}.`,
    { cause },
  );
}
