import {
  constants,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  type SigningOptions,
  verify,
} from 'node:crypto';
import { invalidToken } from './compact-token.ts';

interface Method {
  readonly digest: string | null;
  /** What the key alone does not say. */
  readonly options?: SigningOptions & { readonly dsaEncoding?: 'ieee-p1363' };
}

const pss = (digest: string, saltLength: number): Method => ({
  digest,
  options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength },
});
/** JOSE writes the two numbers of an ECDSA signature one after the other, not in DER (RFC 7518 3.4). */
const ecdsa = (digest: string): Method => ({ digest, options: { dsaEncoding: 'ieee-p1363' } });

/** Algorithms for signatures with public keys (RFC 7518 3.1, RFC 8037 3.1); there is no other way to verify one here. */
const METHODS: ReadonlyMap<string, Method> = new Map([
  ['RS256', { digest: 'sha256' }],
  ['RS384', { digest: 'sha384' }],
  ['RS512', { digest: 'sha512' }],
  ['PS256', pss('sha256', 32)],
  ['PS384', pss('sha384', 48)],
  ['PS512', pss('sha512', 64)],
  ['ES256', ecdsa('sha256')],
  ['ES384', ecdsa('sha384')],
  ['ES512', ecdsa('sha512')],
  ['EdDSA', { digest: null }],
  ['Ed25519', { digest: null }],
]);

/**
 * Checks the signature of a compact JWS. At once, on this thread: an RSA-2048 verification takes 18 µs there, and 65 µs
 * by way of Web Crypto's thread pool, as `jose` goes (31 µs with sixteen at a time; benchmarks/identity.bench.ts).
 * The caller has made sure that the key is of the algorithm's type.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_token`
 */
export function requireSignature(token: string, key: KeyObject, algorithm: string): void {
  const method = METHODS.get(algorithm);
  if (method === undefined) throw invalidToken('its algorithm is not allowed');
  const { digest, options } = method;
  const dot = token.lastIndexOf('.');
  const signed = Buffer.from(token.slice(0, dot), 'latin1');
  const signature = Buffer.from(token.slice(dot + 1), 'base64url');
  // Node takes a key apart again and again when it comes with options (Node 24.21: twice the time of the rest).
  const input = options === undefined ? key : { key, ...options };
  if (!verify(digest, signed, input, signature)) throw invalidToken('its signature is wrong');
}

/**
 * The public key of a JWK, whose type was checked against the algorithm.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_token`: what the issuer publishes is no key
 */
export function importPublicKey(jwk: JsonWebKey): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw invalidToken('its issuer has no key that fits', cause);
  }
}
