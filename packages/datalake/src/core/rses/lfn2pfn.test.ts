import { expect, test } from 'vitest';
import { pathOfDid } from './lfn2pfn.ts';

test('the hash algorithm agrees with the original to the byte', () => {
  expect(pathOfDid('hash', { scope: 'test', name: 'f1' })).toBe('test/a1/62/f1');
});

test('dots of user scopes become folders, those of others stay', () => {
  expect(pathOfDid('hash', { scope: 'user.ada', name: 'f1' })).toMatch(
    /^user\/ada\/[0-9a-f]{2}\/[0-9a-f]{2}\/f1$/,
  );
  expect(pathOfDid('hash', { scope: 'data.ada', name: 'f1' })).toMatch(/^data\.ada\//);
});

test('an unknown algorithm is named', () => {
  expect(() => pathOfDid('xenon', { scope: 'a', name: 'b' })).toThrow(/xenon/);
});
