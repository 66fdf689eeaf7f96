import type { Database } from '@weft/kernel/database';
import type { Areas } from '../areas.ts';
import { lockArea } from './area-lock.ts';
import { type AskedFile, type FoundFile, lookUpFiles } from './look-up-files.ts';
import type { StageState } from './stage-requests.ts';
import type { TapeSystem } from './tape-system.ts';

/** Whose files, as whom. */
export interface StageOwner {
  readonly issuer: string;
  readonly subject: string;
  /** Local account, in multi-user mode; else empty. */
  readonly account: string;
}

/**
 * Asks for files to be on disk for a while. Those that are there are pinned at once; recalls of the others are on their
 * way when this resolves, whatever happens to this process.
 *
 * @returns the id of the request.
 */
export async function stageFiles(
  { database, tape, areas }: { database: Database; tape: TapeSystem; areas: Areas },
  owner: StageOwner,
  asked: readonly (AskedFile & { diskSeconds: number })[],
): Promise<string> {
  const concerned = areas.all.filter(({ config }) => config.tape);
  return await database.transaction(async (tx) => {
    // While it looks, nothing is taken from disk: what is said to be there is pinned before it can go.
    for (const { name } of concerned) await lockArea(tx, tape.instance, name, 'shared');
    const found = await lookUpFiles(tape, areas, asked, tx);
    const files = found.map((file, index) => ({
      asked: file.asked,
      path: file.path,
      state: stateOf(file),
      diskSeconds: asked[index]?.diskSeconds ?? 0,
      ...errorOf(file),
    }));
    const id = await tape.requests.create(tx, owner, files);
    const waiting = files.filter(({ state }) => state === 'SUBMITTED');
    await tape.work.recall(
      tx,
      waiting.map(({ path }) => ({ account: owner.account, path })),
    );
    return id;
  });
}

function stateOf({ locality }: FoundFile): StageState {
  if (locality === undefined || locality === 'LOST') return 'FAILED';
  return locality === 'TAPE' ? 'SUBMITTED' : 'COMPLETED';
}

function errorOf({ locality, error }: FoundFile): { error?: string } {
  if (locality === 'LOST') return { error: 'The copy on tape is lost.' };
  return error === undefined ? {} : { error };
}
