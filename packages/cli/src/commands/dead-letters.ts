import { discardDeadWork, listDeadWork, retryDeadWork } from '@weft/kernel/work';
import { type DatabaseChoice, withInstanceDatabase } from '../instance-database.ts';

export interface DeadLetterOptions extends DatabaseChoice {
  readonly queue?: string;
  readonly retry?: readonly string[];
  readonly discard?: readonly string[];
  readonly json?: boolean;
}

/** `weft dead-letters`: jobs that failed too often; lists them, or puts some back into their queues, or drops some. */
export async function deadLetters(options: DeadLetterOptions): Promise<void> {
  await withInstanceDatabase(options, async ({ database }) => {
    if (options.retry !== undefined) {
      // Workers look at their queues every few seconds, so nobody has to be woken.
      const woken = { wake: () => undefined };
      const count = await retryDeadWork(database, woken, { ids: options.retry });
      process.stdout.write(`${count} of ${options.retry.length} will be tried again\n`);
    }
    if (options.discard !== undefined) {
      const count = await discardDeadWork(database, { ids: options.discard });
      process.stdout.write(`${count} of ${options.discard.length} discarded\n`);
    }
    if (options.retry !== undefined || options.discard !== undefined) return;
    const filter = options.queue === undefined ? {} : { queue: options.queue };
    const letters = await listDeadWork(database.sql, filter);
    if (options.json) {
      process.stdout.write(`${JSON.stringify(letters, null, 2)}\n`);
      return;
    }
    if (letters.length === 0) process.stdout.write('no dead letters\n');
    for (const { id, queue, failures, diedAt, reason } of letters) {
      const [line = ''] = reason.split('\n');
      process.stdout.write(
        `${id.padEnd(10)} ${diedAt.toISOString()}  ${queue.padEnd(32)} ${failures} attempts  ${line}\n`,
      );
    }
  });
}
