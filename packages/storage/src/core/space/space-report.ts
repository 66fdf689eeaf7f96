import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Door } from '../door.ts';
import { createSharedAnswer } from '../shared-answer.ts';
import { spaceOf } from './space-of.ts';

/** Bytes of something that can fill up. */
export interface Size {
  readonly totalBytes: number;
  readonly usedBytes: number;
}

/** How much there is and how much of it is used, at one moment; by area and altogether. */
export interface SpaceReport {
  readonly measuredAt: Date;
  /** Each file system counts once, however many areas lie on it. */
  readonly disk: Size;
  /** Where there is a tape system. */
  readonly tape: Size | undefined;
  /** In the order of the configuration. */
  readonly areas: readonly (Size & { readonly name: string })[];
}

/** Measures at most every `refreshSeconds`, whoever asks how often. */
export function createSpaceReport(door: Door, refreshSeconds: number): () => Promise<SpaceReport> {
  return createSharedAnswer(() => measure(door), refreshSeconds * 1000);
}

async function measure(door: Door): Promise<SpaceReport> {
  const measuredAt = new Date();
  const systems = new Map<number, Size>();
  const areas: (Size & { name: string })[] = [];
  for (const config of door.config.areas) {
    const whole = await fileSystemOf(config.root);
    systems.set(whole.device, whole);
    const area = door.areas.all.find(({ name }) => name === config.name);
    // In multi-user mode each account sees files of its own; of the area as a whole the file system tells.
    const { usedBytes, availableBytes } = area
      ? await spaceOf(door, area)
      : { usedBytes: whole.usedBytes, availableBytes: whole.totalBytes - whole.usedBytes };
    areas.push({ name: config.name, totalBytes: usedBytes + availableBytes, usedBytes });
  }
  const sum = (of: (size: Size) => number) => [...systems.values()].reduce((all, size) => all + of(size), 0);
  return {
    measuredAt,
    disk: { totalBytes: sum((size) => size.totalBytes), usedBytes: sum((size) => size.usedBytes) },
    tape: door.tape && (await tapeSize(door.tape)),
    areas,
  };
}

async function tapeSize(tape: NonNullable<Door['tape']>): Promise<Size> {
  const { totalBytes, usedBytes } = await fileSystemOf(tape.folder);
  const copies = await tape.files.copiedBytes();
  return { totalBytes: copies + totalBytes - usedBytes, usedBytes: copies };
}

/** Counts are in units of `bsize`; what root keeps for itself is neither used nor available. */
async function fileSystemOf(root: string): Promise<Size & { device: number }> {
  const folder = await existing(root.replace(/\{.*$/s, '') || '/home');
  const [{ dev }, { bsize, blocks, bfree, bavail }] = await Promise.all([stat(folder), statfs(folder)]);
  const usedBytes = (blocks - bfree) * bsize;
  return { device: dev, usedBytes, totalBytes: usedBytes + bavail * bsize };
}

/** A folder, or the nearest one above that is there. */
async function existing(folder: string): Promise<string> {
  const found = await stat(folder).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return found || folder === '/' ? folder : existing(dirname(folder));
}
