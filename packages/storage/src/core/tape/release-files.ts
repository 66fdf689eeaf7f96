import type { AnyTx, Database } from '@weft/kernel/database';
import type { Areas } from '../areas.ts';
import { isWithin, type Segments } from '../segments.ts';
import type { StageOwner } from './stage-files.ts';
import type { StageRequest } from './stage-requests.ts';
import type { TapeSystem } from './tape-system.ts';

interface Means {
  readonly database: Database;
  readonly tape: TapeSystem;
  readonly areas: Areas;
}

interface ReleasedFile {
  readonly path: string;
  readonly segments: Segments;
}

/**
 * Says that files are no longer needed on disk: those of one request, or without one (gfal2 knows none when it has not
 * staged itself) all that the owner has pinned. They go when nobody else has pinned them and their time has come.
 */
export async function releaseFiles(
  means: Means,
  owner: StageOwner,
  request: StageRequest | undefined,
  files: readonly ReleasedFile[],
): Promise<void> {
  const { database, tape } = means;
  await database.transaction(async (tx) => {
    const paths = files.map(({ path }) => path);
    await tape.requests.release(tx, request ? { id: request.id } : owner, paths);
    await letGo(means, tx, owner, files);
  });
}

/** Ends what is under way of a request, and what it has pinned may go. */
export async function cancelFiles(
  means: Means,
  owner: StageOwner,
  request: StageRequest,
  files: readonly ReleasedFile[],
): Promise<void> {
  const { database, tape } = means;
  await database.transaction(async (tx) => {
    await tape.requests.cancel(
      tx,
      request.id,
      files.map(({ path }) => path),
    );
    await letGo(means, tx, owner, files);
  });
}

/** Forgets a request, with what it has under way and pinned. */
export async function deleteRequest(means: Means, owner: StageOwner, request: StageRequest): Promise<void> {
  const { database, tape } = means;
  await database.transaction(async (tx) => {
    await tape.requests.delete(tx, request.id);
    await letGo(
      means,
      tx,
      owner,
      request.files.map(({ path }) => ({ path, segments: path.split('/').filter((name) => name !== '') })),
    );
  });
}

/** The work of taking files from disk looks again, and sees whether anybody wants them. */
async function letGo(
  { tape, areas }: Means,
  tx: AnyTx,
  { account }: StageOwner,
  files: readonly ReleasedFile[],
): Promise<void> {
  for (const { name, base, config } of areas.all) {
    if (!config.tape) continue;
    const paths = files.filter(({ segments }) => isWithin(base, segments)).map(({ path }) => path);
    const evictable = await tape.files.evictable(tx, name, paths);
    await tape.work.evict(
      tx,
      evictable.map(({ inode, at }) => ({ area: name, account, inode, at })),
    );
  }
}
