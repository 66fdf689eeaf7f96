import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesPattern, parseStageIn, parseStageOut } from './staging-annotations.ts';

test('the annotations of the twin', () => {
  expect(parseStageIn('drought:climdiv -> /in')).toEqual([
    { scope: 'drought', name: 'climdiv', folder: '/in' },
  ]);
  expect(parseStageOut('/out/* -> drought:warning-2010-12 @ HPC-SCRATCH')).toEqual([
    { folder: '/out', pattern: '*', scope: 'drought', dataset: 'warning-2010-12', rse: 'HPC-SCRATCH' },
  ]);
  expect(parseStageIn('a:b -> /x/y/\n\n c:d->/z ')).toHaveLength(2);
  expect(parseStageIn(undefined)).toEqual([]);
});

test('what is not in that form, or would cover the image, is refused with the line', () => {
  for (const line of [
    'drought climdiv',
    'a:b ->',
    'a:b -> in',
    'a:b -> /',
    'a:b -> /../etc',
    'a:b/c -> /in',
    '-a:b -> /in',
  ]) {
    expect(() => parseStageIn(line)).toThrow(line.trim());
  }
  for (const line of [
    '/out -> a:b @ X',
    '/* -> a:b @ X',
    '/out/ -> a:b @ X',
    '/out/* -> a:b',
    '/out/* -> a:b @ lower',
  ]) {
    expect(() => parseStageOut(line)).toThrow(line);
  }
});

test('anything parses or is refused, and folders never leave the container', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      try {
        for (const { folder } of parseStageIn(`a:b -> /${text}`)) {
          expect(folder.split('/').includes('..')).toBe(false);
        }
      } catch (error) {
        expect(error).toMatchObject({ kind: 'invalid' });
      }
    }),
  );
});

test('patterns know * and ?, everything else is itself', () => {
  expect(matchesPattern('a.csv', '*.csv')).toBe(true);
  expect(matchesPattern('acsv', '*.csv')).toBe(false);
  expect(matchesPattern('map-1.svg', 'map-?.svg')).toBe(true);
  fc.assert(
    fc.property(fc.string(), (name) => {
      expect(matchesPattern(name, '*')).toBe(true);
      if (!/[*?]/.test(name)) expect(matchesPattern(name, name)).toBe(true);
    }),
  );
});
