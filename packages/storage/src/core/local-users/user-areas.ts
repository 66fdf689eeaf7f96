import { mkdir } from 'node:fs/promises';
import { describeError, WeftError } from '@weft/kernel/errors';
import { toFileError } from '../files/file-errors.ts';
import { openLocalFiles } from '../files/local-files.ts';
import type { AreaFiles } from '../files/types.ts';
import type { WorkerSettings } from './file-calls.ts';

/**
 * Seconds after the opening. A worker of a service that was killed ends a moment after it; what it was in the middle of has a
 * maker at first, and none soon after.
 */
const SWEEP_AGAIN_SECONDS = [2, 10, 60];

/** A process beside ours, and with it its worker of this user, may die at any time. */
const SWEEP_EVERY_SECONDS = 60;

const NOT_THERE: ReadonlySet<string> = new Set(['not-found', 'forbidden', 'conflict']);

/**
 * The areas of one user, in the worker's process: each is opened, and swept of what a crash has left, when it is first
 * asked for, so that a folder which is not there, or not open to the user, keeps nobody from the others.
 */
export function openUserAreas({ areas, identity }: WorkerSettings): (name: string) => Promise<AreaFiles> {
  const opened = new Map<string, Promise<AreaFiles>>();

  async function open(name: string): Promise<AreaFiles> {
    const settings = areas.find((area) => area.name === name);
    if (!settings) throw new WeftError('not-found', 'no-area', `There is no storage area ${name}.`);
    const { name: _, ...options } = settings;
    try {
      await mkdir(options.root, { recursive: true, mode: 0o700 });
      const files = await openLocalFiles({ ...options, stagingOwner: identity.uid, inline: true });
      await files.sweep();
      sweepAgain(files);
      return files;
    } catch (error) {
      const cause = toFileError(error);
      if (!(cause instanceof WeftError) || !NOT_THERE.has(cause.kind)) throw cause;
      // It is the site that must mend it, not the name in the request.
      throw new WeftError('forbidden', 'no-folder', `Your account has no folder for the area ${name} here.`, {
        cause,
      });
    }
  }

  return (name) => {
    const known = opened.get(name);
    if (known) return known;
    const files = open(name);
    opened.set(name, files);
    files.catch(() => opened.delete(name));
    return files;
  };
}

function sweepAgain(files: AreaFiles): void {
  const sweep = () =>
    files.sweep().catch((error: unknown) => process.stderr.write(`${describeError(error)}\n`));
  for (const seconds of SWEEP_AGAIN_SECONDS) setTimeout(sweep, seconds * 1000).unref();
  setInterval(sweep, SWEEP_EVERY_SECONDS * 1000).unref();
}
