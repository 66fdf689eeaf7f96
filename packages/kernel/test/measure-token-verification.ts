import { hash } from 'node:crypto';
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { createTokenVerifier } from '../src/auth/index.ts';
import { createLogger } from '../src/telemetry/index.ts';

const ISSUER = 'https://issuer.bench';
const AUDIENCE = 'https://storage.bench';

/** Calls a second of each round. */
export interface Rates {
  readonly ours: number[];
  readonly peer: number[];
}

/**
 * What the verification of bearer tokens costs every component: seen for the first time, beside bare `jose` with the key in
 * hand (one after the other, and sixteen at a time, which lets `jose` use the thread pool); and seen before, beside a
 * SHA-256 and a look-up in a Map. Both sides take turns.
 */
export async function measureTokenVerification({
  rounds,
  tokens: count,
}: {
  rounds: number;
  tokens: number;
}): Promise<{ fresh: Rates; together: Rates; cached: Rates }> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }] };
  const verifier = createTokenVerifier({
    issuers: [{ issuer: ISSUER }],
    fetch: async (url) =>
      Response.json(String(url).endsWith('/jwk') ? jwks : { issuer: ISSUER, jwks_uri: `${ISSUER}/jwk` }),
    log: createLogger({ name: 'bench', level: 'error' }),
  });
  const issue = () =>
    new SignJWT({
      scope: 'openid storage.read:/data storage.create:/data',
      'wlcg.ver': '1.0',
      client_id: 'bench',
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer(ISSUER)
      .setSubject('alice')
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime('1h')
      .setJti(crypto.randomUUID())
      .sign(privateKey);
  const batch = () => Promise.all(Array.from({ length: count }, issue));

  const ours = (token: string) => verifier.verify(token, { audiences: [AUDIENCE] });
  const jose = (token: string) => jwtVerify(token, publicKey, { issuer: ISSUER, audience: AUDIENCE });
  const known = new Map<string, object>();
  const bareLookUp = async (token: string) => known.get(hash('sha256', token, 'base64url'));

  const fresh: Rates = { ours: [], peer: [] };
  const together: Rates = { ours: [], peer: [] };
  const cached: Rates = { ours: [], peer: [] };
  for (let round = 0; round < rounds; round++) {
    const tokens = await batch();
    fresh.peer.push(await rate(tokens, jose));
    fresh.ours.push(await rate(tokens, ours));
    const more = await batch();
    together.peer.push(await rateTogether(more, jose));
    together.ours.push(await rateTogether(more, ours));
    for (const token of tokens) known.set(hash('sha256', token, 'base64url'), {});
    cached.peer.push(await rate(repeated(tokens, 20), bareLookUp));
    cached.ours.push(await rate(repeated(tokens, 20), ours));
  }
  await verifier.close();
  return { fresh, together, cached };
}

function repeated(tokens: readonly string[], times: number): string[] {
  return Array.from({ length: times }, () => tokens).flat();
}

/** Calls a second, one after the other. */
async function rate(tokens: readonly string[], work: (token: string) => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  for (const token of tokens) await work(token);
  return (tokens.length * 1000) / (performance.now() - startedAt);
}

const AT_ONCE = 16;

/** Calls a second, sixteen at a time. */
async function rateTogether(
  tokens: readonly string[],
  work: (token: string) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  for (let at = 0; at < tokens.length; at += AT_ONCE)
    await Promise.all(tokens.slice(at, at + AT_ONCE).map(work));
  return (tokens.length * 1000) / (performance.now() - startedAt);
}
