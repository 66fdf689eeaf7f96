import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ADLER32_EMPTY, combineAdler32, formatAdler32, updateAdler32 } from './adler32.ts';
import { updateCrc32c } from './crc32c.ts';
import { digestStream } from './digests.ts';
import { statedDigests } from './stated-digests.ts';

/** RFC 1950 by its definition, a byte at a time. */
function slowAdler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b * 65536 + a;
}

describe('adler32', () => {
  it('is that of the definition, for any bytes in any pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 9000 }), { maxLength: 4 }), (pieces) => {
        const whole = Buffer.concat(pieces);
        const state = pieces.reduce(updateAdler32, ADLER32_EMPTY);
        expect(state).toBe(slowAdler32(whole));
      }),
      { numRuns: 50 },
    );
  });

  it('does not overflow on the largest bytes', () => {
    const worst = new Uint8Array(1_000_000).fill(255);
    expect(updateAdler32(ADLER32_EMPTY, worst)).toBe(slowAdler32(worst));
  });

  it('keeps its leading zeros', () => {
    expect(formatAdler32(updateAdler32(ADLER32_EMPTY, Buffer.from('a')))).toBe('00620062');
  });

  it('of two parts gives that of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (one, two) => {
        const combined = combineAdler32(slowAdler32(one), slowAdler32(two), two.length);
        expect(combined).toBe(slowAdler32(Buffer.concat([one, two])));
      }),
    );
  });
});

it('crc32c is that of RFC 3720, in any pieces', () => {
  expect(updateCrc32c(0, Buffer.from('123456789')).toString(16)).toBe('e3069283');
  expect(updateCrc32c(0, Buffer.alloc(32)).toString(16)).toBe('8a9136aa');
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (one, two) => {
      const whole = updateCrc32c(0, Buffer.concat([one, two]));
      expect(updateCrc32c(updateCrc32c(0, one), two)).toBe(whole);
    }),
  );
});

it('several digests come of one pass', () => {
  const stream = digestStream(['md5', 'adler32', 'md5']);
  stream.update(Buffer.from('Wiki'));
  stream.update(Buffer.from('pedia'));
  expect(stream.finish()).toEqual({
    adler32: '11e60398',
    md5: createHash('md5').update('Wikipedia').digest('hex'),
  });
});

describe('digests that a sender states', () => {
  const read = (headers: Record<string, string>) => statedDigests((name) => headers[name]);

  it('are read in every dialect of the field', () => {
    expect(read({ digest: 'ADLER32=3da0195,md5=CY9rzUYh03PK3k6DJie09g==' })).toEqual({
      adler32: '03da0195',
      md5: '098f6bcd4621d373cade4e832627b4f6',
    });
    expect(read({ 'repr-digest': 'adler=:EeYDmA==:, unknown=:AA==:' })).toEqual({ adler32: '11e60398' });
    expect(read({ 'oc-checksum': 'ADLER32:11e60398' })).toEqual({ adler32: '11e60398' });
    expect(read({ 'content-md5': 'CY9rzUYh03PK3k6DJie09g==' })).toEqual({
      md5: '098f6bcd4621d373cade4e832627b4f6',
    });
  });

  it('are refused when they cannot be what they say', () => {
    for (const value of ['adler32=xyz', 'md5=AAAA', 'sha-256=zz'])
      expect(() => read({ digest: value })).toThrow(/is no/);
  });
});
