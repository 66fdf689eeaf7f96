/** The largest prime below 2^16 (RFC 1950). */
const MODULUS = 65521;

/** 255·n(n+1)/2 + (n+1)(MODULUS−1) stays below 2^53 for far more, but below 2^31 (small integers) for this many bytes. */
const BLOCK = 3854;

/** The checksum of no bytes. */
export const ADLER32_EMPTY = 1;

/**
 * Continues an adler32 (RFC 1950) over `bytes`. The remainder is taken once a block, because the sums of a block fit.
 *
 * @example formatAdler32(updateAdler32(ADLER32_EMPTY, Buffer.from('Wikipedia'))) // '11e60398'
 */
export function updateAdler32(adler: number, bytes: Uint8Array): number {
  let a = adler & 0xffff;
  let b = adler >>> 16;
  const length = bytes.length;
  let index = 0;
  while (index < length) {
    const end = Math.min(index + BLOCK, length);
    const unrolledEnd = end - ((end - index) & 7);
    for (; index < unrolledEnd; index += 8) {
      b += a += bytes[index] as number;
      b += a += bytes[index + 1] as number;
      b += a += bytes[index + 2] as number;
      b += a += bytes[index + 3] as number;
      b += a += bytes[index + 4] as number;
      b += a += bytes[index + 5] as number;
      b += a += bytes[index + 6] as number;
      b += a += bytes[index + 7] as number;
    }
    for (; index < end; index++) b += a += bytes[index] as number;
    a %= MODULUS;
    b %= MODULUS;
  }
  return ((b << 16) | a) >>> 0;
}

/** The checksum of two byte strings in a row from theirs; `secondBytes` is the length of the second. */
export function combineAdler32(first: number, second: number, secondBytes: number): number {
  const a1 = first & 0xffff;
  const b1 = first >>> 16;
  const a2 = second & 0xffff;
  const b2 = second >>> 16;
  const a = (a1 + a2 - 1 + MODULUS) % MODULUS;
  const b = (b1 + b2 + (secondBytes % MODULUS) * ((a1 + MODULUS - 1) % MODULUS)) % MODULUS;
  return ((b << 16) | a) >>> 0;
}

/** Eight lower-case hex digits; a lost leading zero has cost this field weeks (brief teapot 1, row 18). */
export function formatAdler32(adler: number): string {
  return (adler >>> 0).toString(16).padStart(8, '0');
}
