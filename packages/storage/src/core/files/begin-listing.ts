/**
 * A listing whose first batch has come: when the file system refuses it, that is known before the answer has begun. It
 * holds a directory open until it is disposed of, whether it was read or not.
 */
export interface BegunListing<Batch> extends AsyncIterable<Batch>, AsyncDisposable {}

export async function beginListing<Batch>(source: AsyncIterable<Batch>): Promise<BegunListing<Batch>> {
  const iterator = source[Symbol.asyncIterator]();
  let first: IteratorResult<Batch> | undefined = await iterator.next();
  const end = async () => (await iterator.return?.()) ?? { done: true, value: undefined };
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const result = first;
        first = undefined;
        return result ? Promise.resolve(result) : iterator.next();
      },
      return: end,
    }),
    [Symbol.asyncDispose]: async () => {
      await end();
    },
  };
}
