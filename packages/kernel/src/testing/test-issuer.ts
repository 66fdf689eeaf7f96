import { randomUUID } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';
import { createTokenVerifier, type TokenVerifier, type TrustedIssuer } from '../auth/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import { createLogger } from '../telemetry/index.ts';

/** What a test says about a token; everything else gets a sensible value. */
export interface TestTokenClaims {
  sub: string;
  aud: string | readonly string[];
  /** Space-separated. Default: empty. */
  scope?: string;
  /** Any other claim: `wlcg.groups`, `act`, `preferred_username`, … `undefined` removes a claim. */
  [claim: string]: unknown;
}

export interface TestIssuer {
  readonly issuer: string;
  /** Trusts this issuer alone. */
  readonly verifier: TokenVerifier;
  /** The discovery document and the keys, for verifiers of a test's own. */
  readonly fetch: GuardedFetch;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
  readonly keyId: string;
  /** A well-formed WLCG access token, valid for an hour. */
  token(claims: TestTokenClaims): Promise<string>;
  /** Signs any claims, with any header: for forged and odd tokens. */
  sign(claims: JWTPayload, header?: Readonly<Record<string, unknown>>): Promise<string>;
}

/**
 * An issuer that exists only inside a test: keys of its own, no listener, no network.
 *
 * @example
 * const issuer = await createTestIssuer();
 * const token = await issuer.token({ sub: 'alice', aud: 'https://localhost:8446', scope: 'fts' });
 */
export async function createTestIssuer(
  options: { issuer?: string; trust?: Partial<TrustedIssuer> } = {},
): Promise<TestIssuer> {
  const issuer = options.issuer ?? 'https://issuer.test';
  const keyId = `test-${randomUUID()}`;
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const publicJwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: 'RS256', use: 'sig' };

  const fetch: GuardedFetch = async (input) => {
    const path = new URL(input).pathname;
    if (path.endsWith('/.well-known/openid-configuration'))
      return Response.json({ issuer, jwks_uri: `${issuer}/jwk` });
    if (path.endsWith('/jwk')) return Response.json({ keys: [publicJwk] });
    return new Response('not found', { status: 404 });
  };

  async function sign(claims: JWTPayload, header: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: keyId, typ: 'at+jwt', ...header })
      .sign(privateKey);
  }

  return {
    issuer,
    verifier: createTokenVerifier({
      issuers: [{ issuer, ...options.trust }],
      fetch,
      log: createLogger({ name: 'test-issuer', level: 'silent' }),
    }),
    fetch,
    privateKey,
    publicJwk,
    keyId,
    sign,
    token: ({ scope = '', ...claims }) => {
      const now = Math.floor(Date.now() / 1000);
      const defaults = {
        'wlcg.ver': '1.0',
        iat: now,
        nbf: now - 60,
        exp: now + 3600,
        jti: randomUUID(),
        client_id: 'test-client',
      };
      return sign({ ...defaults, iss: issuer, scope, ...claims } as JWTPayload);
    },
  };
}
