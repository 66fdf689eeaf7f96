import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { describe, expect, it } from 'vitest';
import { importPublicKey, requireSignature } from './signature.ts';

describe('signatures that jose makes', () => {
  it.each([
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'ES256',
    'ES384',
    'ES512',
    'EdDSA',
    'Ed25519',
  ])(
    '%s holds, and holds no more with a changed letter, another key or another algorithm',
    async (algorithm) => {
      const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
      const sign = (text: string) =>
        new CompactSign(Buffer.from(text)).setProtectedHeader({ alg: algorithm }).sign(privateKey);
      const key = importPublicKey({ ...(await exportJWK(publicKey)) });
      const token = await sign('{"sub":"alice"}');
      expect(() => requireSignature(token, key, algorithm)).not.toThrow();

      const refused = { kind: 'unauthenticated', code: 'invalid_token' };
      const outcome = (raw: string, by = key, as = algorithm) => {
        try {
          requireSignature(raw, by, as);
          return 'accepted';
        } catch (error) {
          return error;
        }
      };
      const [header = '', payload = '', signature = ''] = token.split('.');
      const [, otherPayload = ''] = (await sign('{"sub":"admin"}')).split('.');
      const flipped = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
      for (const forged of [
        `${header}.${otherPayload}.${signature}`,
        `${header}.${payload}.${flipped}`,
        `${header}.${payload}.${signature.slice(0, -8)}`,
        `${header}.${payload}.`,
      ])
        expect(outcome(forged)).toMatchObject(refused);
      const other = await generateKeyPair(algorithm, { extractable: true });
      expect(outcome(token, importPublicKey({ ...(await exportJWK(other.publicKey)) }))).toMatchObject(
        refused,
      );
      for (const name of ['none', 'HS256', 'toString'])
        expect(outcome(token, key, name)).toMatchObject(refused);
    },
  );

  it('are not checked with what is no key', () => {
    expect(() => importPublicKey({ kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' })).toThrow(
      /no key that fits/,
    );
  });
});
