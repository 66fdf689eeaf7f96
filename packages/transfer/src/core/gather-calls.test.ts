import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { gatherCalls } from './gather-calls.ts';

test('the first call does not wait, and those that come meanwhile go together', async () => {
  const sets: number[][] = [];
  const double = gatherCalls(async (items: readonly number[]) => {
    sets.push([...items]);
    await sleep(5);
    return items.map((item) => item * 2);
  });
  expect(await Promise.all([1, 2, 3, 4].map(double))).toEqual([2, 4, 6, 8]);
  expect(sets).toEqual([[1], [2, 3, 4]]);
  expect(await double(5)).toBe(10);
});

test('a bad item fails alone', async () => {
  const half = gatherCalls(async (items: readonly number[]) => {
    await sleep(1);
    if (items.some((item) => item % 2 === 1)) throw new Error('odd');
    return items.map((item) => item / 2);
  });
  expect(await Promise.allSettled([2, 4, 5, 6].map(half))).toMatchObject([
    { value: 1 },
    { value: 2 },
    { reason: expect.objectContaining({ message: 'odd' }) },
    { value: 3 },
  ]);
});
