import { fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WeftError } from '../errors/index.ts';
import { createTestIssuer, type TestIssuer } from '../testing/test-issuer.ts';
import { authenticate, bearerChallenge, requireAnyScope, requireScopes } from './authenticate.ts';

const AUDIENCE = 'https://service.test';
const app = fastify();
let issuer: TestIssuer;

beforeAll(async () => {
  issuer = await createTestIssuer();
  app.get('/', async (request, reply) => {
    try {
      const principal = await authenticate(request, issuer.verifier, [AUDIENCE]);
      requireScopes(principal, 'read');
      requireAnyScope(principal, 'fts', 'fts:submit-transfer');
      return principal.subject;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return reply
        .code(error.status)
        .header('www-authenticate', bearerChallenge('weft', error))
        .send(error.code);
    }
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => app.close());

const ask = async (authorization?: string) => {
  const answer = await app.inject({
    url: '/',
    headers: authorization === undefined ? {} : { authorization },
  });
  return [answer.statusCode, answer.body, answer.headers['www-authenticate']];
};
const token = (scope = 'read fts', aud = AUDIENCE) => issuer.token({ sub: 'alice', aud, scope });

describe('a request', () => {
  it.each(['Bearer', 'bearer', 'BEARER'])('is who its token says (%s)', async (scheme) => {
    expect(await ask(`${scheme} ${await token()}`)).toEqual([200, 'alice', undefined]);
  });

  it('is refused in the words of RFC 6750', async () => {
    expect(await ask()).toEqual([401, 'missing_token', 'Bearer realm="weft"']);
    expect(await ask('Basic YTpi')).toEqual([401, 'missing_token', 'Bearer realm="weft"']);
    expect(await ask('Bearer')).toEqual([
      400,
      'invalid_request',
      'Bearer realm="weft", error="invalid_request"',
    ]);
    expect(await ask('Bearer a b')).toEqual([
      400,
      'invalid_request',
      'Bearer realm="weft", error="invalid_request"',
    ]);
    expect(await ask('Bearer a.b.c')).toEqual([
      401,
      'invalid_token',
      expect.stringContaining('error="invalid_token"'),
    ]);
    expect((await ask(`Bearer ${await token('read fts', 'https://other.test')}`))[0]).toBe(401);
    expect(await ask(`Bearer ${await token('fts')}`)).toEqual([
      403,
      'insufficient_scope',
      expect.stringContaining('scope="read"'),
    ]);
    expect((await ask(`Bearer ${await token('read')}`))[0]).toBe(403);
    expect((await ask(`Bearer ${await token('read fts:submit-transfer')}`))[0]).toBe(200);
  });

  it('is refused with two Authorization headers, of which a proxy might have read the other', async () => {
    const { port } = app.server.address() as { port: number };
    const { request } = await import('node:http');
    const good = `Bearer ${await token()}`;
    const status = await new Promise((resolve, reject) => {
      request(
        { port, host: '127.0.0.1', headers: ['Host', 'x', 'Authorization', good, 'Authorization', good] },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        },
      )
        .on('error', reject)
        .end();
    });
    expect(status).toBe(400);
  });
});
