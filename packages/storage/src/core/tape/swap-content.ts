import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import type { Place } from '../areas.ts';
import type { FileFacts, StagedFile } from '../files/types.ts';
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
    await tape.files.announce(file, planned.ns);
    return await database.transaction(async (tx) => {
      await lockArea(tx, tape.instance, area.name, 'exclusive');
      const before = await area.files.lookup(inner);
      if (!before || !isSame(before, file) || (await unless?.(tx))) return false;
      ended = true;
      const now = await staged.commit(inner, { replace: true, modified: planned.date });
      await recordSwap(tx, tape, { file, place, now }, { onDisk, also });
      return true;
    });
  } finally {
    if (!ended) await staged.discard();
  }
}

/** Says what stands there now; the content is the same, and so are its checksums. */
export async function recordSwap(
  tx: AnyTx & Sql,
  tape: TapeSystem,
  { file, place: { area }, now }: { file: TapeFile; place: Place; now: FileFacts },
  { onDisk, also }: Pick<Swap, 'onDisk' | 'also'>,
): Promise<void> {
  const [digests = {}] = await tape.checksums.find(area.name, [file]);
  const diskSeconds = area.config.tape?.evict_after_seconds ?? 0;
  await tape.files.replaced(tx, file, now, { onDisk, diskSeconds });
  await tape.checksums.record(tx, [{ area: area.name, facts: now, digests }]);
  await also?.(tx, now);
}

/** Whether what stands there is what the record speaks of. */
export function isSame(facts: FileFacts, file: TapeFile): boolean {
  return facts.inode === file.inode && facts.size === file.size && facts.modifiedNs === file.modifiedNs;
}

/** Whether it is what was about to take that one's place when a process died. */
export function isReplacement(facts: FileFacts, file: TapeFile): boolean {
  return facts.inode !== file.inode && facts.size === file.size && facts.modifiedNs === file.replacingNs;
}
