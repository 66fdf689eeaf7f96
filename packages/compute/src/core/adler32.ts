/** Largest prime below 2^16. */
const MODULUS = 65521;
/** Bytes that can be added before 32 bits might overflow (zlib's NMAX). */
const BLOCK = 5552;

/** Adler-32 (RFC 1950) over content that comes in pieces; printed as storages do, in eight hex digits. */
export class Adler32 {
  #low = 1;
  #high = 0;

  update(bytes: Uint8Array): void {
    let low = this.#low;
    let high = this.#high;
    for (let start = 0; start < bytes.length; start += BLOCK) {
      const end = Math.min(start + BLOCK, bytes.length);
      for (let index = start; index < end; index++) {
        low += bytes[index] ?? 0;
        high += low;
      }
      low %= MODULUS;
      high %= MODULUS;
    }
    this.#low = low;
    this.#high = high;
  }

  digest(): string {
    return (((this.#high << 16) | this.#low) >>> 0).toString(16).padStart(8, '0');
  }
}
