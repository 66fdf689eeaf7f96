import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Adler32 } from './adler32.ts';

function adler32(...pieces: Uint8Array[]): string {
  const checksum = new Adler32();
  for (const piece of pieces) checksum.update(piece);
  return checksum.digest();
}

test('known values', () => {
  expect(adler32()).toBe('00000001');
  expect(adler32(Buffer.from('Wikipedia'))).toBe('11e60398');
});

test('content may come in any pieces', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), fc.nat(20_000), (bytes, at) => {
      expect(adler32(bytes.subarray(0, at), bytes.subarray(at))).toBe(adler32(bytes));
    }),
    { numRuns: 50 },
  );
});
