import type { AnyTx } from '@weft/kernel/database';
import type { Job } from '@weft/kernel/work';
import type { TapeFile } from './tape-files.ts';
import type { TapeSystem } from './tape-system.ts';

/** A file that is being renamed is told of when the new name is on record, which takes a moment. */
const ATTEMPTS = 3;

/**
 * For work whose file is not at its path: it was renamed a moment ago, then the next attempt finds it; or it was removed
 * or replaced underneath, where nobody tells us, and its copy on tape is of no use any more.
 *
 * @throws to be tried again.
 */
export async function forgetUnlessRenamed(
  tx: AnyTx,
  tape: TapeSystem,
  file: TapeFile,
  { attempt }: Pick<Job<unknown>, 'attempt'>,
): Promise<void> {
  if (attempt < ATTEMPTS) throw new Error(`${file.path} is not what it was`);
  await tape.work.erase(tx, await tape.files.remove(tx, file.area, file.path));
}
