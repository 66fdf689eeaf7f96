import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import type { Area, Place } from '../areas.ts';
import type { Digests } from '../checksums/digests.ts';
import type { FileFacts, StagedFile } from '../files/types.ts';
import type { SpaceChange } from '../space/usage.ts';
import { lockArea } from './area-lock.ts';
import type { TapeFile } from './tape-files.ts';
import type { TapeSystem } from './tape-system.ts';

/**
 * The time that takes the place of a file's own when content and stub change places: in whole seconds, because that is
 * what can be set exactly. Clients see no finer times than that.
 */
export function plannedTime({ modifiedNs }: Pick<TapeFile, 'modifiedNs'>): { ns: bigint; date: Date } {
  const seconds = modifiedNs / 1_000_000_000n;
  return { ns: seconds * 1_000_000_000n, date: new Date(Number(seconds) * 1000) };
}

export interface Swap {
  /** What the file is afterwards. */
  readonly onDisk: boolean;
  /** Asked when nothing can change any more; true: leave it as it is. */
  readonly unless?: ((tx: AnyTx) => Promise<boolean>) | undefined;
  /** What becomes true together with it. */
  readonly also?: ((tx: AnyTx, now: FileFacts) => Promise<void>) | undefined;
}

/**
 * Puts a stub in the place of content, or content in the place of a stub, by one rename. That it is about to happen is
 * on record before: after a crash anywhere, and until the work runs again, the record says which of the two stands there.
 *
 * @returns false when it was left as it is, because `unless` said so or the file is another one by now.
 */
export async function swapContent(
  database: Database,
  tape: TapeSystem,
  { file, place, staged }: { file: TapeFile; place: Place; staged: StagedFile },
  { onDisk, unless, also }: Swap,
): Promise<boolean> {
  const { area, inner } = place;
  const planned = plannedTime(file);
  let ended = false;
  try {
    const standing = await area.files.lookup(inner);
    if (!standing || !isSame(standing, file)) return false;
    // Asked beforehand: those who wait for the lock may have taken every connection but the transaction's own.
    const known = await knownContent(tape, file, area);
    const owned = await ownership(tape, area, standing);
    await tape.files.announce(file, planned.ns);
    return await database.transaction(async (tx) => {
      await lockArea(tx, tape.instance, area.name, 'exclusive');
      const before = await area.files.lookup(inner);
      if (!before || !isSame(before, file) || (await unless?.(tx))) {
        await tape.files.withdraw(tx, file);
        return false;
      }
      ended = true;
      const now = await staged.commit(inner, { replace: true, modified: planned.date });
      await record(tx, tape, { file, area, known, now }, { onDisk, also });
      await tape.usage.apply(tx, owned(now));
      return true;
    });
  } finally {
    if (!ended) await staged.discard();
  }
}

/** Says what a process that died has put there. */
export async function recordSwap(
  database: Database,
  tape: TapeSystem,
  { file, place: { area }, now }: { file: TapeFile; place: Place; now: FileFacts },
  swap: Pick<Swap, 'onDisk' | 'also'>,
): Promise<void> {
  const known = await knownContent(tape, file, area);
  await database.transaction((tx) => record(tx, tape, { file, area, known, now }, swap));
}

/** The content is the same, and so are its checksums. */
async function knownContent(tape: TapeSystem, file: TapeFile, { name }: Area): Promise<Digests> {
  const [digests = {}] = await tape.checksums.find(name, [file]);
  return digests;
}

async function record(
  tx: AnyTx & Sql,
  tape: TapeSystem,
  { file, area, known, now }: { file: TapeFile; area: Area; known: Digests; now: FileFacts },
  { onDisk, also }: Pick<Swap, 'onDisk' | 'also'>,
): Promise<void> {
  const diskSeconds = area.config.tape?.evict_after_seconds ?? 0;
  await tape.files.replaced(tx, file, now, { onDisk, diskSeconds });
  await tape.checksums.record(tx, [{ area: area.name, facts: now, digests: known }]);
  await also?.(tx, now);
}

/** In areas with a quota for each user, who uploaded what stood there: what comes counts as theirs too. */
async function ownership(
  { usage }: TapeSystem,
  { account, config: { name, quota } }: Area,
  before: FileFacts,
): Promise<(now: FileFacts) => SpaceChange[]> {
  if (account || quota?.user_bytes === undefined) return () => [];
  const [owner = ''] = await usage.ownersOf(name, [before]);
  return (file) => [{ area: name, owner, usedBytes: 0, claimedBytes: 0, file }];
}

/** Whether what stands there is what the record speaks of. */
export function isSame(facts: FileFacts, file: TapeFile): boolean {
  return facts.inode === file.inode && facts.size === file.size && facts.modifiedNs === file.modifiedNs;
}

/** Whether it is what was about to take that one's place when a process died. */
export function isReplacement(facts: FileFacts, file: TapeFile): boolean {
  return facts.inode !== file.inode && facts.size === file.size && facts.modifiedNs === file.replacingNs;
}
