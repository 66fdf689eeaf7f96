import type { AnyTx, WakeUps } from '@weft/kernel/database';
import { defineQueue, enqueue, type Queue } from '@weft/kernel/work';
import { z } from 'zod';

/** What needs a drive. A recall is asked for by somebody who waits; an archive is not. */
export const driveWork = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('archive'), area: z.string(), account: z.string(), inode: z.string() }),
  z.strictObject({ do: z.literal('recall'), account: z.string(), path: z.string() }),
]);

/** What happens on disk only. */
export const bufferWork = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('evict'), area: z.string(), account: z.string(), inode: z.string() }),
  z.strictObject({ do: z.literal('erase'), copy: z.string() }),
]);

export type DriveWork = z.output<typeof driveWork>;
export type BufferWork = z.output<typeof bufferWork>;

/** The work of one instance's tape system: durable, leased, tried again (kernel/work). */
export interface TapeWork {
  readonly drives: Queue<DriveWork>;
  readonly buffer: Queue<BufferWork>;
  archive(
    tx: AnyTx,
    files: readonly { area: string; account: string; inode: bigint; at: Date }[],
  ): Promise<void>;
  recall(tx: AnyTx, files: readonly { account: string; path: string }[]): Promise<void>;
  evict(
    tx: AnyTx,
    files: readonly { area: string; account: string; inode: bigint; at: Date }[],
  ): Promise<void>;
  erase(tx: AnyTx, copies: readonly string[]): Promise<void>;
}

/** Smaller first: somebody waits for a recall. */
const RECALL_PRIORITY = 50;

export function createTapeWork(wakeUps: WakeUps, site: string): TapeWork {
  const drives = defineQueue({ name: `storage.use-drives.${site}`, payload: driveWork });
  const buffer = defineQueue({ name: `storage.tend-tape-buffer.${site}`, payload: bufferWork });
  const several = async <Work>(tx: AnyTx, queue: Queue<Work>, jobs: Parameters<typeof enqueue<Work>>[3]) => {
    if (jobs.length > 0) await enqueue(tx, wakeUps, queue, jobs);
  };
  return {
    drives,
    buffer,
    archive: (tx, files) =>
      several(
        tx,
        drives,
        files.map(({ area, account, inode, at }) => ({
          payload: { do: 'archive' as const, area, account, inode: String(inode) },
          key: `archive ${area} ${inode}`,
          runAt: at,
        })),
      ),
    recall: (tx, files) =>
      several(
        tx,
        drives,
        files.map(({ account, path }) => ({
          payload: { do: 'recall' as const, account, path },
          key: `recall ${account} ${path}`,
          priority: RECALL_PRIORITY,
        })),
      ),
    evict: (tx, files) =>
      several(
        tx,
        buffer,
        files.map(({ area, account, inode, at }) => ({
          payload: { do: 'evict' as const, area, account, inode: String(inode) },
          key: `evict ${area} ${inode}`,
          runAt: at,
        })),
      ),
    erase: (tx, copies) =>
      several(
        tx,
        buffer,
        copies.map((copy) => ({ payload: { do: 'erase' as const, copy }, key: `erase ${copy}` })),
      ),
  };
}
