import { expect, it } from 'vitest';
import { createBatches } from './batches.ts';

it('an item that can never be written spoils nothing for those that came with it', async () => {
  const written: string[] = [];
  const write = createBatches<string>(
    async (items) => {
      if (items.includes('bad')) throw new RangeError('out of range');
      written.push(...items);
    },
    (error) => error instanceof RangeError,
  );
  const outcomes = await Promise.allSettled(['one', 'bad', 'two'].map(write));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(written).toEqual(['one', 'two']);
});

it('a failure that is nobody’s fault is not tried again for each', async () => {
  let tries = 0;
  const write = createBatches<string>(
    async () => {
      tries += 1;
      throw new Error('the database is gone');
    },
    (error) => error instanceof RangeError,
  );
  await Promise.allSettled(['one', 'two', 'three'].map(write));
  expect(tries).toBe(1);
});
