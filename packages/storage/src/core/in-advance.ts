/**
 * Answers in the order of asking, until there is none; up to `ahead` of them are asked for before the first is used up, so
 * that nobody on the way waits for anybody else to get the processor. What is still being asked for when nobody wants more
 * is awaited.
 */
export async function* askInAdvance<Answer>(
  ask: () => Promise<Answer | undefined>,
  ahead: number,
): AsyncGenerator<Answer, void, void> {
  const asked: Promise<Answer | undefined>[] = [];
  try {
    for (let depth = Math.min(2, ahead); ; depth = ahead) {
      while (asked.length < depth) {
        const answer = ask();
        // Its failure is seen when its turn comes.
        answer.catch(() => undefined);
        asked.push(answer);
      }
      const answer = await asked.shift();
      if (answer === undefined) return;
      yield answer;
    }
  } finally {
    await Promise.allSettled(asked);
  }
}

/** What `work` makes of each item, in order; it is at up to `ahead` of them at once. */
export async function* workInAdvance<Item, Result extends object>(
  source: AsyncIterable<Item>,
  work: (item: Item) => Promise<Result>,
  ahead: number,
): AsyncGenerator<Result, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    yield* askInAdvance(async () => {
      const next = await iterator.next();
      return next.done ? undefined : work(next.value);
    }, ahead);
  } finally {
    await iterator.return?.();
  }
}
