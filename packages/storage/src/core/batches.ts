/**
 * Gathers what concurrent requests want to write into one statement: while a batch is being written, the next one
 * collects. A lone request is written in the same turn. Resolves when the batch that holds `item` is durable.
 *
 * @param isOfItem tells failures that one of the items is to blame for: then each is written alone, so that it spoils
 *   nothing for the others. `write` must be all or nothing.
 */
export function createBatches<Item>(
  write: (items: readonly Item[]) => Promise<void>,
  isOfItem: (error: unknown) => boolean = () => false,
): (item: Item) => Promise<void> {
  interface Waiting {
    readonly item: Item;
    readonly resolve: () => void;
    readonly reject: (error: unknown) => void;
  }
  let waiting: Waiting[] = [];
  let writing = false;

  async function writeAlone(batch: readonly Waiting[]): Promise<void> {
    for (const { item, resolve, reject } of batch) await write([item]).then(resolve, reject);
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        await write(batch.map(({ item }) => item));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        if (batch.length > 1 && isOfItem(error)) await writeAlone(batch);
        else for (const { reject } of batch) reject(error);
      }
    }
    writing = false;
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (writing) return;
      writing = true;
      // With everything else that this turn of the event loop brings.
      setImmediate(() => void drain());
    });
}
