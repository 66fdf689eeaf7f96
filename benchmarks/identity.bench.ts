import { createHash } from 'node:crypto';
import { createTokenVerifier } from '@weft/kernel/auth';
import { createLogger } from '@weft/kernel/telemetry';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { type Benchmark, type Figure, median } from './benchmark.ts';

const ISSUER = 'https://issuer.bench';
const AUDIENCE = 'https://storage.bench';
const ROUNDS = 7;
const TOKENS = 1000;

/** What the verification of bearer tokens costs every component: once seen, and seen for the first time. */
const benchmark: Benchmark = {
  name: 'token-verification',
  component: 'identity',
  async run(note) {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }] };
    const verifier = createTokenVerifier({
      issuers: [{ issuer: ISSUER }],
      fetch: async (url) =>
        Response.json(String(url).endsWith('/jwk') ? jwks : { issuer: ISSUER, jwks_uri: `${ISSUER}/jwk` }),
      log: createLogger({ name: 'bench', level: 'error' }),
    });
    const keys = createLocalJWKSet(jwks);
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
    const batch = () => Promise.all(Array.from({ length: TOKENS }, issue));

    const ours = (token: string) => verifier.verify(token, { audiences: [AUDIENCE] });
    const jose = (token: string) => jwtVerify(token, keys, { issuer: ISSUER, audience: AUDIENCE });
    const known = new Map<string, object>();
    const bareLookUp = async (token: string) =>
      known.get(createHash('sha256').update(token).digest('base64url'));

    const fresh: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    const cached: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    for (let round = 0; round < ROUNDS; round++) {
      const tokens = await batch();
      fresh.peer.push(await rate(tokens, jose));
      fresh.ours.push(await rate(tokens, ours));
      for (const token of tokens) known.set(createHash('sha256').update(token).digest('base64url'), {});
      cached.peer.push(await rate(repeated(tokens, 20), bareLookUp));
      cached.ours.push(await rate(repeated(tokens, 20), ours));
    }
    await verifier.close();
    note(`${ROUNDS} rounds of ${TOKENS} RS256-2048 tokens, one after the other`);
    return [
      ratioOf('verify-uncached', fresh, 0.8, 'bare jose'),
      ratioOf('verify-cached', cached, 0.6, 'SHA-256 and a Map'),
      {
        name: 'verify-cached-rate',
        value: median(cached.ours),
        unit: '/s',
        target: null,
        better: 'higher',
        peer: null,
        ratio: null,
      },
      {
        name: 'verify-uncached-rate',
        value: median(fresh.ours),
        unit: '/s',
        target: null,
        better: 'higher',
        peer: null,
        ratio: null,
      },
    ];
  },
};

export default benchmark;

function ratioOf(
  name: string,
  rates: { ours: readonly number[]; peer: readonly number[] },
  target: number,
  peer: string,
): Figure {
  const value = median(rates.ours) / median(rates.peer);
  return { name, value, unit: `of ${peer}`, target, better: 'higher', peer, ratio: value };
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
