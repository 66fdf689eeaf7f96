import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const NEEDED_BYTES = 4 * 2 ** 30;
const TMPFS_MAGIC = 0x0102_1994;

/** `weft-bench-<pid>-<random>`: what a run that was killed has left can be told from what is in use. */
const PREFIX = `weft-bench-${process.pid}-`;

/** Folders of runs that are gone. */
function removeLeftOvers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = /^weft-bench-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const folder = path.join(parent, name);
    try {
      execFileSync('umount', ['--lazy', folder], { stdio: 'ignore' });
    } catch {
      // Nothing is mounted there.
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A new folder on a file system in memory, so that no disk is measured. */
export function makeMemoryFolder(): { folder: string; remove(): void } {
  removeLeftOvers(tmpdir());
  const own = mkdtempSync(path.join(tmpdir(), PREFIX));
  chmodSync(own, 0o755);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=14g,mode=755', 'weft-bench', own], { stdio: 'ignore' });
    return {
      folder: own,
      remove() {
        execFileSync('umount', ['--lazy', own]);
        rmSync(own, { recursive: true, force: true });
      },
    };
  } catch {
    // Not root, or a container that may not mount.
    rmSync(own, { recursive: true, force: true });
  }
  const { type, bavail, bsize } = statfsSync('/dev/shm');
  if (type !== TMPFS_MAGIC || bavail * bsize < NEEDED_BYTES)
    throw new Error('A file system in memory with 4 GiB is needed: run as root, or give /dev/shm that much.');
  const folder = mkdtempSync(`/dev/shm/${PREFIX}`);
  chmodSync(folder, 0o755);
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The same on whatever holds temporary files. */
export function makeDiskFolder(): { folder: string; remove(): void } {
  removeLeftOvers(tmpdir());
  const folder = mkdtempSync(path.join(tmpdir(), PREFIX));
  chmodSync(folder, 0o755);
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
