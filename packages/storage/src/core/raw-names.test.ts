import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesOfName, nameOfBytes, printableName } from './raw-names.ts';
import { encodePath, parseResourcePath } from './resource-path.ts';

const bytes = fc.uint8Array({ minLength: 1, maxLength: 20 });

it('every name comes back as the bytes that it was, and no two are the same', () => {
  fc.assert(
    fc.property(bytes, bytes, (one, other) => {
      expect(bytesOfName(nameOfBytes(one)).equals(one)).toBe(true);
      expect(nameOfBytes(one) === nameOfBytes(other)).toBe(Buffer.from(one).equals(other));
      expect(printableName(nameOfBytes(one)).isWellFormed()).toBe(true);
    }),
    { numRuns: 500 },
  );
});

it('an href leads back to the name', () => {
  const names = bytes.filter((name) =>
    name.every((byte) => byte > 0x20 && byte !== 0x2f && byte !== 0x25 && byte !== 0x7f),
  );
  fc.assert(
    fc.property(names, (name) => {
      const segment = nameOfBytes(name);
      const dots = segment === '.' || segment === '..';
      const smuggled = /[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]/.test(
        Buffer.from(name).toString('latin1'),
      );
      fc.pre(!dots && !smuggled && !/\p{Cc}/u.test(segment));
      expect(parseResourcePath(encodePath([segment]), { raw: true }).segments).toEqual([segment]);
    }),
    { numRuns: 500 },
  );
});

it('what is smuggled past checks in bytes that are not UTF-8 is refused', () => {
  for (const path of ['/%c0%ae%c0%ae/x', '/a%2f%ff', '/%ff%00', '/%ff%0a', '/%e0%80%af', '/%ff%252e', '/%f'])
    expect(() => parseResourcePath(path, { raw: true }), path).toThrow(/not acceptable/);
  expect(() => parseResourcePath('/%ff')).toThrow(/not acceptable/);
});
