import { type KeyObject, sign } from 'node:crypto';

export interface SigningKey {
  /** `kid` */
  readonly id: string;
  /** RS256; see `SIGNING_ALGORITHM`. */
  readonly algorithm: string;
  readonly key: KeyObject;
}

/**
 * A compact JWS (RFC 7515 3.1), signed with RS256 in the thread pool while the event loop serves others. By hand because it
 * is three lines and half the work for the event loop: 29 µs a token here, 55 µs by WebCrypto, which jose uses. What
 * comes out is verified by jose in the tests.
 */
export function signJwt(
  { id, algorithm, key }: SigningKey,
  type: 'at+jwt' | 'JWT' | 'logout+jwt',
  claims: Readonly<Record<string, unknown>>,
): Promise<string> {
  const input = `${base64url({ alg: algorithm, kid: id, typ: type })}.${base64url(claims)}`;
  return new Promise((resolve, reject) =>
    sign('sha256', Buffer.from(input, 'latin1'), key, (error, signature) =>
      error ? reject(error) : resolve(`${input}.${signature.toString('base64url')}`),
    ),
  );
}

function base64url(document: Readonly<Record<string, unknown>>): string {
  return Buffer.from(JSON.stringify(document)).toString('base64url');
}
