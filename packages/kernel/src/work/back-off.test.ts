import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffSeconds } from './back-off.ts';

test('pauses double from a second to ten minutes, and are spread over the whole of it', () => {
  const longest = (failures: number) => backOffSeconds(failures, () => 1);
  expect([0, 1, 2, 3].map(longest)).toEqual([1, 2, 4, 8]);
  expect([10, 100, 10_000].map(longest)).toEqual([600, 600, 600]);
  fc.assert(
    fc.property(fc.nat(1_000), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
      expect(backOffSeconds(failures, () => chance)).toBeLessThanOrEqual(longest(failures));
    }),
  );
});
