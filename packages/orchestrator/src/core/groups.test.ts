import { describe, expect, it } from 'vitest';
import { chooseGroup, mayUse } from './groups.ts';

describe('chooseGroup', () => {
  it.each([
    [['/drought'], undefined, undefined, 'drought'],
    [['/drought', '/admin'], 'drought', undefined, 'drought'],
    [['drought', 'admin'], '/admin', undefined, 'admin'],
    [['/drought', '/admin'], undefined, 'drought', 'drought'],
    [[], undefined, 'guests', 'guests'],
  ] as const)('of %j with %s asked for and the default %s is %s', (groups, requested, fallback, chosen) => {
    expect(chooseGroup(groups, requested, fallback)).toBe(chosen);
  });

  it.each([
    [['/drought'], 'admin', undefined, /not among/],
    [['/a', '/b'], undefined, undefined, /one of: a, b/],
    [['/a', '/b'], undefined, 'c', /one of: a, b/],
    [[], undefined, undefined, /no group/],
    [[], 'drought', 'drought', /not among/],
  ] as const)(
    'of %j with %s asked for and the default %s is refused',
    (groups, requested, fallback, message) => {
      expect(() => chooseGroup(groups, requested, fallback)).toThrow(message);
    },
  );
});

it('mayUse compares with and without slash', () => {
  expect(mayUse('drought', ['/drought'])).toBe(true);
  expect(mayUse('drought', ['*'])).toBe(true);
  expect(mayUse('drought', ['drought/sub'])).toBe(false);
});
