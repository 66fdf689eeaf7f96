import { type KeyObject, verify, type X509Certificate } from 'node:crypto';
import { type DerElement, objectIdentifier, readElements, readInside, timeOf } from './der.ts';

/** A certificate revocation list (RFC 5280 5). */
export interface RevocationList {
  /** DER of the issuer's name. */
  readonly issuer: Buffer;
  readonly nextUpdate: number | undefined;
  /** Serial numbers as hexadecimal content octets. */
  readonly revoked: ReadonlySet<string>;
  /** Whether an authority has signed it; computed once, because lists can be megabytes long. */
  isSignedBy(authority: X509Certificate): boolean;
}

/** Digest and kind of key of the signatures that are taken: RSA with PKCS #1 1.5 (RFC 4055), ECDSA (RFC 5758). */
const ALGORITHMS: ReadonlyMap<string, { digest: string; keyType: string }> = new Map([
  ['1.2.840.113549.1.1.11', { digest: 'sha256', keyType: 'rsa' }],
  ['1.2.840.113549.1.1.12', { digest: 'sha384', keyType: 'rsa' }],
  ['1.2.840.113549.1.1.13', { digest: 'sha512', keyType: 'rsa' }],
  ['1.2.840.10045.4.3.2', { digest: 'sha256', keyType: 'ec' }],
  ['1.2.840.10045.4.3.3', { digest: 'sha384', keyType: 'ec' }],
  ['1.2.840.10045.4.3.4', { digest: 'sha512', keyType: 'ec' }],
]);

const TIMES = [0x17, 0x18];

/**
 * Reads a list in DER.
 * @throws {RangeError} when it is not one
 */
export function readRevocationList(der: Buffer): RevocationList {
  const [list, algorithm, signature] = readInside(der);
  if (list === undefined || algorithm === undefined || signature === undefined)
    throw new RangeError('a revocation list without its fields');
  const fields = readElements(list.content);
  const [, issuer, , ...rest] = fields[0]?.tag === 0x02 ? fields.slice(1) : fields;
  if (issuer === undefined) throw new RangeError('a revocation list without an issuer');
  const next = rest.find(({ tag }) => TIMES.includes(tag));
  const entries = rest.find(({ tag }) => tag === 0x30);
  const revoked = readElements(entries?.content ?? Buffer.alloc(0)).map(
    ({ content }) => readElements(content)[0]?.content.toString('hex') ?? '',
  );
  const extensions = rest.find(({ tag }) => tag === 0xa0);
  if (extensions !== undefined) requireNoCritical(extensions.content);
  const verdicts = new WeakMap<X509Certificate, boolean>();
  return {
    issuer: issuer.whole,
    nextUpdate: next === undefined ? undefined : timeOf(next),
    revoked: new Set(revoked),
    isSignedBy(authority) {
      let verdict = verdicts.get(authority);
      if (verdict === undefined) {
        verdict = isSigned(list.whole, algorithm, signature, authority.publicKey);
        verdicts.set(authority, verdict);
      }
      return verdict;
    },
  };
}

/**
 * Whether a key made the signature (a BIT STRING) over `content` with the algorithm that stands beside it: RSA with
 * PKCS #1 1.5, or ECDSA, with SHA-2. Anything else is no signature here.
 */
export function isSigned(
  content: Buffer,
  algorithm: DerElement,
  signature: DerElement,
  key: KeyObject,
): boolean {
  const [type] = readElements(algorithm.content);
  const how = type === undefined ? undefined : ALGORITHMS.get(objectIdentifier(type.content));
  if (how === undefined || how.keyType !== key.asymmetricKeyType) return false;
  return verify(how.digest, content, key, signature.content.subarray(1));
}

/** A list with a critical extension that is not understood says nothing (RFC 5280 5.2): parts of lists, deltas. */
function requireNoCritical(extensions: Buffer): void {
  for (const { content } of readInside(extensions)) {
    const [type, critical] = readElements(content);
    if (critical?.tag === 0x01 && critical.content[0] !== 0)
      throw new RangeError(
        `a revocation list with the critical extension ${objectIdentifier(type?.content ?? Buffer.alloc(0))}`,
      );
  }
}
