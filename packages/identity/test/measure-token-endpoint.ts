import { createHash, timingSafeEqual } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createTokenVerifier } from '@weft/kernel/auth';
import { createListener } from '@weft/kernel/http';
import { ensureAuthority } from '@weft/kernel/pki';
import { createLogger } from '@weft/kernel/telemetry';
import { createTestContext, createTestListener, startTestDatabase } from '@weft/kernel/testing';
import { generateKeyPair, SignJWT } from 'jose';
import { identity } from '../src/index.ts';

const ISSUER = 'https://issuer.bench';
const AUDIENCE = 'https://storage.bench';
const SECRET = 'a-secret-of-256-bits-for-the-bench';

/**
 * Client credentials at `/token`, RS256-2048, everything in PostgreSQL with an audit row each, against a bare Fastify that
 * knows its one client by heart, signs with jose and remembers nothing. Requests a second of each round, without sockets.
 */
export async function measureTokenEndpoint({ rounds, ...load }: Load & { rounds: number }): Promise<{
  ours: number[];
  bare: number[];
}> {
  const test = await startTestDatabase({ migrations: { identity: identity.migrations } });
  const log = createLogger({ name: 'bench', level: 'error' });
  const verifier = createTokenVerifier({ issuers: [], fetch, log });
  const config = identity.config.parse({
    listen: { port: 8440 },
    url: ISSUER,
    clients: [
      {
        id: 'bench',
        secret: SECRET,
        grants: ['client_credentials'],
        allow: [{ audience: AUDIENCE, scopes: ['storage.read:/'] }],
      },
    ],
  });
  const context = createTestContext({ test, config, verifier });
  await identity.prepare?.(context);
  const [definition] = await identity.listeners(context);
  if (definition === undefined) throw new Error('identity has no listener');
  const ours = await createTestListener(definition, log);
  const bare = await bareIssuer();
  const rates: { ours: number[]; bare: number[] } = { ours: [], bare: [] };
  try {
    for (const app of [ours, bare]) await rate(app, load);
    for (let round = 0; round < rounds; round++) {
      rates.bare.push(await rate(bare, load));
      rates.ours.push(await rate(ours, load));
    }
  } finally {
    await ours.close();
    await bare.close();
    await verifier.close();
    await test.stop();
  }
  return rates;
}

/** How many requests a round has, and how many are under way at once. */
interface Load {
  readonly requests: number;
  readonly atOnce: number;
}

type App = Awaited<ReturnType<typeof createTestListener>>;

async function bareIssuer(): Promise<App> {
  const authority = await ensureAuthority(mkdtempSync(path.join(tmpdir(), 'weft-bench-pki-')));
  const tls = await authority.ensureServerCertificate('bench', {
    commonName: 'localhost',
    hosts: ['localhost'],
  });
  const app = createListener({ log: createLogger({ name: 'bench', level: 'error' }), tls });
  const { privateKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
  const known = createHash('sha256').update(SECRET).digest();
  app.post('/token', async (request, reply) => {
    const basic = Buffer.from((request.headers.authorization ?? '').slice(6), 'base64').toString();
    const given = createHash('sha256')
      .update(basic.slice(basic.indexOf(':') + 1))
      .digest();
    if (!timingSafeEqual(given, known)) return reply.code(401).send({ error: 'invalid_client' });
    const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
    const scope = form.get('scope') ?? '';
    const token = await new SignJWT({ scope, client_id: 'bench', 'wlcg.ver': '1.0' })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer(ISSUER)
      .setSubject('bench')
      .setAudience(form.get('audience') ?? '')
      .setIssuedAt()
      .setExpirationTime('1h')
      .setJti(crypto.randomUUID())
      .sign(privateKey);
    return { access_token: token, token_type: 'Bearer', expires_in: 3600, scope };
  });
  await app.ready();
  return app;
}

async function rate(app: App, { requests, atOnce }: Load): Promise<number> {
  const payload = new URLSearchParams({
    grant_type: 'client_credentials',
    audience: AUDIENCE,
    scope: 'storage.read:/',
  }).toString();
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    authorization: `Basic ${Buffer.from(`bench:${SECRET}`).toString('base64')}`,
  };
  let left = requests;
  const startedAt = performance.now();
  const runner = async () => {
    while (left-- > 0) {
      const { statusCode, body } = await app.inject({ method: 'POST', url: '/token', headers, payload });
      if (statusCode !== 200) throw new Error(`${statusCode}: ${body}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runner));
  return (requests * 1000) / (performance.now() - startedAt);
}
