/**
 * A listing whose first batch has come: when the file system refuses it, that is known before the answer has begun. It
 * must be read to its end or left with `return`, as `for await` does.
 */
export async function beginListing<Batch>(source: AsyncIterable<Batch>): Promise<AsyncIterable<Batch>> {
  const iterator = source[Symbol.asyncIterator]();
  let first: IteratorResult<Batch> | undefined = await iterator.next();
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const result = first;
        first = undefined;
        return result ? Promise.resolve(result) : iterator.next();
      },
      return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
    }),
  };
}
