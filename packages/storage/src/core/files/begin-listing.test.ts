import { expect, it } from 'vitest';
import { beginListing } from './begin-listing.ts';

function source(events: string[]) {
  return (async function* () {
    try {
      yield 1;
      yield 2;
    } finally {
      events.push('closed');
    }
  })();
}

it('a listing that has begun gives its first batch, too', async () => {
  const seen: number[] = [];
  await using listing = await beginListing(source([]));
  for await (const batch of listing) seen.push(batch);
  expect(seen).toEqual([1, 2]);
});

it('a listing that nobody reads lets go of its directory', async () => {
  const events: string[] = [];
  const fail = async () => {
    await using _ = await beginListing(source(events));
    throw new Error('the database is gone');
  };
  await expect(fail()).rejects.toThrow('the database is gone');
  expect(events).toEqual(['closed']);
});

it('what keeps it from beginning is told at once', async () => {
  async function* refused(): AsyncGenerator<number> {
    yield await Promise.reject(new Error('refused'));
  }
  await expect(beginListing(refused())).rejects.toThrow('refused');
});
