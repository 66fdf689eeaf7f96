import fc from 'fast-check';
import { expect, test } from 'vitest';
import { copyField, quoteIdentifier } from './copy-rows.ts';

/** Undoes COPY's text format, by the rules of PostgreSQL's manual. */
function readField(text: string): string | null {
  if (text === '\\N') return null;
  const letters: Record<string, string> = { n: '\n', t: '\t', r: '\r', '\\': '\\' };
  return text.replace(/\\(.)/gs, (_, letter: string) => letters[letter] ?? letter);
}

test('a field comes back as it was, and never breaks its line', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const field = copyField(text);
      expect(field).not.toMatch(/[\t\n\r]/);
      expect(readField(field)).toBe(text);
    }),
  );
});

test('values of every kind', () => {
  expect(copyField(null)).toBe('\\N');
  expect(copyField(undefined)).toBe('\\N');
  expect(copyField('\\N')).toBe('\\\\N');
  expect(copyField(true)).toBe('true');
  expect(copyField(12n)).toBe('12');
  expect(copyField(new Date(0))).toBe('1970-01-01T00:00:00.000Z');
  expect(copyField(new Uint8Array([104, 105]))).toBe('\\\\x6869');
  expect(copyField({ a: 'x\ty' })).toBe('{"a":"x\\\\ty"}');
  expect(copyField(['a', null, 'b"c\\d'])).toBe('{"a",NULL,"b\\\\"c\\\\\\\\d"}');
});

test('identifiers are quoted', () => {
  expect(quoteIdentifier('a"b')).toBe('"a""b"');
});
