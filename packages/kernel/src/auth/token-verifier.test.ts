import { createHmac, createPublicKey } from 'node:crypto';
import { CompactSign, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { createTestIssuer, type TestIssuer } from '../testing/test-issuer.ts';

const AUDIENCE = 'https://storage.test:8081';
const accepted = { audiences: [AUDIENCE, 'storage.test'] };

let issuer: TestIssuer;

beforeAll(async () => {
  issuer = await createTestIssuer();
});

function claims(changes: Record<string, unknown> = {}): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  const all: Record<string, unknown> = {
    iss: issuer.issuer,
    sub: 'alice',
    aud: AUDIENCE,
    scope: 'storage.read:/data',
    'wlcg.ver': '1.0',
    client_id: 'cli',
    jti: crypto.randomUUID(),
    iat: now,
    nbf: now - 60,
    exp: now + 600,
    ...changes,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const base64url = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

function signText(text: string): Promise<string> {
  const header = { alg: 'RS256', kid: issuer.keyId };
  return new CompactSign(Buffer.from(text)).setProtectedHeader(header).sign(issuer.privateKey);
}

async function foreignKey() {
  return generateKeyPair('RS256', { extractable: true });
}

describe('a token that the issuer gave', () => {
  it('becomes a principal', async () => {
    const token = await issuer.sign(
      claims({
        scope: 'storage.read:/data/ openid',
        'wlcg.groups': ['/drought', '/drought/ops'],
        eduperson_entitlement: 'urn:mace:egi.eu:group:drought:role=member#aai.egi.eu',
        act: { sub: 'orchestrator', act: { sub: 'portal' } },
        preferred_username: 'alice',
      }),
    );
    const principal = await issuer.verifier.verify(token, accepted);
    expect(principal).toMatchObject({
      kind: 'user',
      issuer: issuer.issuer,
      subject: 'alice',
      clientId: 'cli',
      pathScopes: [{ action: 'read', path: ['data'], directoryOnly: true }],
      groups: ['/drought', '/drought/ops'],
      entitlements: ['urn:mace:egi.eu:group:drought:role=member#aai.egi.eu'],
      actors: ['orchestrator', 'portal'],
      profile: { preferred_username: 'alice' },
    });
    expect([...principal.scopes]).toEqual(['storage.read:/data/', 'openid']);
    expect(Object.isFrozen(principal)).toBe(true);
    expect(JSON.stringify(principal)).not.toContain(token);
  });

  it('is a service when subject and client are one', async () => {
    const principal = await issuer.verifier.verify(
      await issuer.sign(claims({ sub: 'datalake', client_id: 'datalake' })),
      accepted,
    );
    expect(principal.kind).toBe('service');
  });

  it.each(['at+jwt', 'application/at+jwt', 'AT+JWT', 'JWT', undefined])(
    'may have the type %s',
    async (typ) => {
      await expect(
        issuer.verifier.verify(await issuer.sign(claims(), { typ }), accepted),
      ).resolves.toBeDefined();
    },
  );

  it('may name several audiences, as a list', async () => {
    const token = await issuer.sign(claims({ aud: ['rucio', 'storage.test'] }));
    await expect(issuer.verifier.verify(token, accepted)).resolves.toBeDefined();
  });

  it('may be up to a minute early or late', async () => {
    const now = Math.floor(Date.now() / 1000);
    for (const changes of [{ nbf: now + 55 }, { iat: now + 55 }, { exp: now - 55, iat: now - 600 }]) {
      await expect(
        issuer.verifier.verify(await issuer.sign(claims(changes)), accepted),
      ).resolves.toBeDefined();
    }
  });

  it('may speak SciTokens', async () => {
    const token = await issuer.sign(
      claims({ 'wlcg.ver': undefined, ver: 'scitoken:2.0', scope: 'read:/data write:/data/out' }),
    );
    const principal = await issuer.verifier.verify(token, accepted);
    expect(principal.pathScopes.map(({ action }) => action)).toEqual(['read', 'modify']);
  });
});

describe('a forged or unfit token is refused', () => {
  const now = () => Math.floor(Date.now() / 1000);
  const forgeries: Record<string, () => Promise<string>> = {
    'alg none': async () => `${base64url({ alg: 'none', kid: issuer.keyId })}.${base64url(claims())}.`,
    'alg none with a signature': async () => `${base64url({ alg: 'none' })}.${base64url(claims())}.AAAA`,
    'HS256 keyed with the public key': async () => {
      const pem = createPublicKey({ key: issuer.publicJwk, format: 'jwk' }).export({
        type: 'spki',
        format: 'pem',
      });
      const input = `${base64url({ alg: 'HS256', kid: issuer.keyId })}.${base64url(claims())}`;
      return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`;
    },
    'another key under the same id': async () => {
      const { privateKey } = await foreignKey();
      return new SignJWT(claims()).setProtectedHeader({ alg: 'RS256', kid: issuer.keyId }).sign(privateKey);
    },
    'unknown key id': () => issuer.sign(claims(), { kid: 'other' }),
    'key embedded in the header': async () => {
      const { privateKey, publicKey } = await foreignKey();
      const jwk = await exportJWK(publicKey);
      return new SignJWT(claims()).setProtectedHeader({ alg: 'RS256', jwk }).sign(privateKey);
    },
    'key address in the header': async () => {
      const { privateKey } = await foreignKey();
      return new SignJWT(claims())
        .setProtectedHeader({ alg: 'RS256', kid: 'evil', jku: 'https://evil.test/jwk' })
        .sign(privateKey);
    },
    'algorithm outside the list': async () => {
      const { privateKey } = await generateKeyPair('PS256');
      return new SignJWT(claims()).setProtectedHeader({ alg: 'PS256', kid: issuer.keyId }).sign(privateKey);
    },
    'critical header': async () => {
      const [, payload, signature] = (await issuer.sign(claims())).split('.');
      return `${base64url({ alg: 'RS256', kid: issuer.keyId, crit: ['b64'], b64: true })}.${payload}.${signature}`;
    },
    'issuer not trusted': () => issuer.sign(claims({ iss: 'https://evil.test' })),
    'issuer with another slash': () => issuer.sign(claims({ iss: `${issuer.issuer}/` })),
    'issuer missing': () => issuer.sign(claims({ iss: undefined })),
    'other audience': () => issuer.sign(claims({ aud: 'https://other.test' })),
    'audience as a prefix': () => issuer.sign(claims({ aud: `${AUDIENCE}/` })),
    'audience in other case': () => issuer.sign(claims({ aud: AUDIENCE.toUpperCase() })),
    'audience missing': () => issuer.sign(claims({ aud: undefined })),
    'wildcard audience, which is off': () => issuer.sign(claims({ aud: 'https://wlcg.cern.ch/jwt/v1/any' })),
    expired: () => issuer.sign(claims({ iat: now() - 900, exp: now() - 61 })),
    'no expiry': () => issuer.sign(claims({ exp: undefined })),
    'expiry as text': () => issuer.sign(claims({ exp: String(now() + 600) as never })),
    'not valid yet': () => issuer.sign(claims({ nbf: now() + 62 })),
    'issued in the future': () => issuer.sign(claims({ iat: now() + 62 })),
    'too long a life': () => issuer.sign(claims({ exp: now() + 25 * 3600, 'wlcg.ver': undefined })),
    'too long a life for the WLCG profile': () => issuer.sign(claims({ exp: now() + 7 * 3600 })),
    'no subject': () => issuer.sign(claims({ sub: undefined })),
    'subject that is no text': () => issuer.sign(claims({ sub: 17 as never })),
    'ID token': () =>
      issuer.sign(claims({ scope: undefined, client_id: undefined, nonce: 'n', at_hash: 'h' }), {
        typ: 'JWT',
      }),
    'ID token of a provider that says nothing': () =>
      issuer.sign(claims({ scope: undefined, client_id: undefined }), { typ: undefined }),
    'logout token': () => issuer.sign(claims({ events: {} }), { typ: 'logout+jwt' }),
    'Keycloak refresh token': () => issuer.sign(claims({ typ: 'Refresh' }), { typ: 'JWT' }),
    'unknown WLCG version': () => issuer.sign(claims({ 'wlcg.ver': '2.0' })),
    'scope as a list in a WLCG token': () => issuer.sign(claims({ scope: ['storage.read:/'] })),
    'storage scope without a path': () => issuer.sign(claims({ scope: 'storage.read' })),
    'storage scope that climbs': () => issuer.sign(claims({ scope: 'storage.read:/data/../etc' })),
    'actor chain that is no chain': () => issuer.sign(claims({ act: 'orchestrator' })),
    'tampered claims': async () => {
      const [header, , signature] = (await issuer.sign(claims())).split('.');
      return `${header}.${base64url(claims({ sub: 'admin' }))}.${signature}`;
    },
    'tampered signature': async () => {
      const token = await issuer.sign(claims());
      const at = token.lastIndexOf('.') + 10;
      return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
    },
    'duplicate keys': () => signText(JSON.stringify(claims()).replace('{', '{"sub":"admin",')),
    'duplicate keys, one of them escaped': () =>
      signText(JSON.stringify(claims()).replace('{', '{"s\u0075b":"admin",')),
    'duplicate keys further down': () =>
      signText(JSON.stringify(claims()).replace('{', '{"act":{"sub":"a","sub":"b"},')),
    'too long': () => issuer.sign(claims({ padding: 'x'.repeat(17_000) })),
    'two segments': async () => (await issuer.sign(claims())).split('.').slice(0, 2).join('.'),
    'five segments': async () => `${await issuer.sign(claims())}.AAAA.AAAA`,
    padding: async () => `${await issuer.sign(claims())}==`,
    'white space': async () => ` ${await issuer.sign(claims())}`,
    'claims that are a list': async () => `${base64url({ alg: 'RS256' })}.${base64url([1])}.AAAA`,
    nothing: async () => '',
  };

  it.each(Object.keys(forgeries))('%s', async (name) => {
    const token = (await forgeries[name]?.()) ?? '';
    for (const attempt of ['first', 'repeated']) {
      await expect(issuer.verifier.verify(token, accepted), attempt).rejects.toMatchObject({
        kind: 'unauthenticated',
        code: 'invalid_token',
      });
    }
  });

  it('a token of one service, replayed at another, after the first has accepted it', async () => {
    const token = await issuer.sign(claims());
    await issuer.verifier.verify(token, accepted);
    await expect(issuer.verifier.verify(token, { audiences: ['https://other.test'] })).rejects.toMatchObject({
      code: 'invalid_token',
    });
    await expect(issuer.verifier.verify(token, accepted)).resolves.toBeDefined();
  });

  it('with a wildcard audience only where the issuer is trusted with it', async () => {
    const lenient = await createTestIssuer({ trust: { allowWildcardAudience: true } });
    const token = await lenient.token({ sub: 'alice', aud: 'https://wlcg.cern.ch/jwt/v1/any' });
    await expect(lenient.verifier.verify(token, accepted)).resolves.toBeDefined();
  });
});
