import { describe, expect, it } from 'vitest';
import { scalarUnit } from './units.ts';

describe('scalarUnit', () => {
  it.each([
    ['scalar-unit.size', '512 MiB', 536_870_912],
    ['scalar-unit.size', '2 GB', 2_000_000_000],
    ['scalar-unit.size', '1.5kB', 1_500],
    ['scalar-unit.time', '10 m', 600],
    ['scalar-unit.frequency', '2 ghz', 2e9],
  ] as const)('%s %s', (type, text, value) => {
    expect(scalarUnit(type, text)).toBe(value);
  });

  it.each(['12', 'MB', '-1 MB', '1 parsec', '1 __proto__', 'NaN MB'])('refuses %s', (text) => {
    expect(scalarUnit('scalar-unit.size', text)).toBeUndefined();
  });
});
