import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import { RetryLater } from '@weft/kernel/work';
import type { Area, Place } from '../areas.ts';
import type { Digests } from '../checksums/digests.ts';
import type { FileFacts, StagedFile } from '../files/types.ts';
import type { SpaceChange } from '../space/usage.ts';
import { lockArea } from './area-lock.ts';
import type { TapeFile } from './tape-files.ts';
import type { TapeSystem } from './tape-system.ts';

const AGAIN_SECONDS = 0.5;

export interface Swap {
  /** What the file is afterwards. */
  readonly onDisk: boolean;
  /** Makes what takes the place; called without any lock, for it may take hours. */
  readonly stage: () => Promise<StagedFile>;
  /** Asked when nothing can change any more; true: leave it as it is. */
  readonly unless?: (tx: AnyTx) => Promise<boolean>;
  /** What becomes true together with it. */
  readonly also?: (tx: AnyTx, now: FileFacts) => Promise<void>;
  /** The record is as it was, and another file stands there, or none: it was changed underneath, or is being renamed. */
  readonly changed?: (tx: AnyTx, now: FileFacts | undefined) => Promise<void>;
}

/**
 * Puts a stub in the place of content, or content in the place of a stub, by one rename. That it is about to happen is
 * on record before: after a crash anywhere, and until the work runs again, the record says which of the two stands there.
 * Two workers may be at the same file, when a lease has run out: what counts is the record as it is under the lock.
 *
 * @returns whether the file is now what it was to be by this call.
 */
export async function swapContent(
  database: Database,
  tape: TapeSystem,
  { file, place }: { file: TapeFile; place: Place },
  { onDisk, stage, unless, also, changed }: Swap,
): Promise<boolean> {
  const { area, inner } = place;
  const planned = plannedTime(file);
  const standing = await area.files.lookup(inner);
  // Asked beforehand: those who wait for the lock may have taken every connection but the transaction's own.
  const [known = {}] = await tape.checksums.find(area.name, [file]);
  const owned = await ownership(tape, area, standing);
  const staged = standing && isSame(standing, file) ? await stage() : undefined;
  let ended = staged === undefined;
  try {
    if (staged) await tape.files.announce(file, planned.ns);
    return await database.transaction(async (tx) => {
      await lockArea(tx, tape.instance, area.name, 'exclusive');
      const record = await tape.files.current(tx, file);
      if (!record || record.onDisk === onDisk || record.copy === undefined) return false;
      const before = await area.files.lookup(inner);
      if (before && isReplacement(before, record)) {
        await recordSwap(tx, tape, { file, area, known, now: before }, { onDisk, also });
        return true;
      }
      if (!staged || !before || !isSame(before, record) || (await unless?.(tx))) {
        await tape.files.withdraw(tx, file);
        if (!before || !isSame(before, record)) await changed?.(tx, before);
        return false;
      }
      // Without the announcement a crash would leave a stub that nobody knows for one: another worker has withdrawn it.
      if (record.replacingNs !== planned.ns)
        throw new RetryLater(AGAIN_SECONDS, 'another worker was at the file');
      ended = true;
      const now = await staged.commit(inner, { replace: true, modified: planned.date });
      await recordSwap(tx, tape, { file, area, known, now }, { onDisk, also });
      await tape.usage.apply(tx, owned(now));
      return true;
    });
  } finally {
    if (!ended) await staged?.discard();
  }
}

/**
 * The time that takes the place of a file's own when content and stub change places: in whole seconds, because that is
 * what can be set exactly. Clients see no finer times than that.
 */
function plannedTime({ modifiedNs }: TapeFile): { ns: bigint; date: Date } {
  const seconds = modifiedNs / 1_000_000_000n;
  return { ns: seconds * 1_000_000_000n, date: new Date(Number(seconds) * 1000) };
}

/** Says what stands there now; the content is the same, and so are its checksums. */
async function recordSwap(
  tx: AnyTx & Sql,
  tape: TapeSystem,
  { file, area, known, now }: { file: TapeFile; area: Area; known: Digests; now: FileFacts },
  { onDisk, also }: { onDisk: boolean; also: Swap['also'] | undefined },
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
  before: FileFacts | undefined,
): Promise<(now: FileFacts) => SpaceChange[]> {
  if (account || !before || quota?.user_bytes === undefined) return () => [];
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
