interface Call<Item, Result> {
  readonly item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Turns a function over a set into one over an item, without delay: the first call runs at once, and whatever is asked
 * while it runs goes together in the next one. So an idle mover is quick, and a busy one sends one statement for many
 * files. A set that fails is tried item by item, so that one bad item fails alone; `handle` must allow that.
 */
export function gatherCalls<Item, Result>(
  handle: (items: readonly Item[]) => Promise<readonly Result[]>,
): (item: Item) => Promise<Result> {
  let waiting: Call<Item, Result>[] = [];
  let busy = false;

  async function run(): Promise<void> {
    busy = true;
    while (waiting.length > 0) {
      const calls = waiting;
      waiting = [];
      if (!(await tryTogether(calls))) for (const call of calls) await settle(call);
    }
    busy = false;
  }

  async function tryTogether(calls: readonly Call<Item, Result>[]): Promise<boolean> {
    if (calls.length === 1) return false;
    const results = await handle(calls.map(({ item }) => item)).catch(() => undefined);
    if (results?.length !== calls.length) return false;
    for (const [index, result] of results.entries()) calls[index]?.resolve(result);
    return true;
  }

  async function settle({ item, resolve, reject }: Call<Item, Result>): Promise<void> {
    try {
      for (const result of await handle([item])) return resolve(result);
      throw new RangeError('a gathered call gave no result');
    } catch (error) {
      reject(error);
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!busy) void run();
    });
}
