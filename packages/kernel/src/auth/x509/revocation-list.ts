import { type KeyObject, verify } from 'node:crypto';
import { objectIdentifier, readElements, readInside, timeOf } from './der.ts';

/** A certificate revocation list (RFC 5280 5). */
export interface RevocationList {
  /** DER of the issuer's name. */
  readonly issuer: Buffer;
  readonly nextUpdate: number | undefined;
  /** Serial numbers as hexadecimal content octets. */
  readonly revoked: ReadonlySet<string>;
  isSignedBy(key: KeyObject): boolean;
}

const DIGESTS: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
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
  const [type] = readElements(algorithm.content);
  const digest = type === undefined ? undefined : DIGESTS.get(objectIdentifier(type.content));
  return {
    issuer: issuer.whole,
    nextUpdate: next === undefined ? undefined : timeOf(next),
    revoked: new Set(revoked),
    isSignedBy: (key) =>
      digest !== undefined && verify(digest, list.whole, key, signature.content.subarray(1)),
  };
}
