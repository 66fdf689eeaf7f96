/** The same items, each asked for while the one before it is being dealt with. */
export async function* inAdvance<Item>(source: AsyncIterable<Item>): AsyncGenerator<Item> {
  const iterator = source[Symbol.asyncIterator]();
  let upcoming: Promise<IteratorResult<Item>> | undefined;
  try {
    upcoming = iterator.next();
    for (;;) {
      const { done, value } = await upcoming;
      upcoming = undefined;
      if (done) return;
      upcoming = iterator.next();
      // Its failure is seen when its turn comes.
      upcoming.catch(() => undefined);
      yield value;
    }
  } finally {
    await upcoming?.catch(() => undefined);
    await iterator.return?.();
  }
}
