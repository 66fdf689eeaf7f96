import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { hasErrno } from './file-errors.ts';

/** In the root of each area: where files and trees are made before they get their name. Never served. */
export const STAGING_FOLDER = '.weft-staging';

/** Files of a maker on another host are left alone for so long, because that host alone can tell whether it lives. */
const FOREIGN_AGE_MILLISECONDS = 24 * 3600 * 1000;

/** `host~pid~start~random`: tells after a crash whether the process that made it still runs. */
const NAME = /^(.+)~(\d+)~(\d+)~[0-9a-f]{16}$/;

const host = hostname().replace(/[~/]/g, '-');
const ownStart = startTime(process.pid) ?? '0';

export function stagingName(): string {
  return `${host}~${process.pid}~${ownStart}~${randomBytes(8).toString('hex')}`;
}

/**
 * Field 22 of /proc/pid/stat: clock ticks since boot at which the process began; with the pid it names a process for good.
 * Elsewhere `0` for every process that lives. Nothing when it is gone.
 */
function startTime(pid: number): string | undefined {
  let stat: string;
  try {
    if (process.platform !== 'linux') return process.kill(pid, 0) ? '0' : undefined;
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
  // The command's name stands in parentheses and may hold anything, blanks and parentheses included.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

/** Makes the staging folder below `root`, for `owner` one of its own in it; returns its path. */
export async function prepareStaging(root: string, owner?: number): Promise<string> {
  const folder = `${root}/${STAGING_FOLDER}`;
  await makeFolder(folder, 0o700);
  if (owner !== undefined) return await ownFolder(folder, owner);
  await requireOurs(folder);
  return folder;
}

/**
 * The folder of one account in a folder that all may write to: its number, or where somebody else has taken that name (which
 * must keep nobody from uploading), its number with something to it.
 */
async function ownFolder(folder: string, owner: number): Promise<string> {
  const usual = `${folder}/${owner}`;
  await mkdir(usual, { mode: 0o700 }).catch((error: unknown) => {
    if (!hasErrno(error, 'EEXIST')) throw error;
  });
  const others = (await readdir(folder)).filter((name) => name.startsWith(`${owner}~`));
  for (const path of [usual, ...others.map((name) => `${folder}/${name}`)]) {
    const stats = await lstat(path);
    if (stats.isDirectory() && stats.uid === owner) return path;
  }
  return await mkdtemp(`${usual}~`);
}

/** Whoever owns the folder can put what they like in the place of an upload that is not complete yet. */
async function requireOurs(folder: string): Promise<void> {
  const { uid } = await lstat(folder);
  if (process.geteuid && uid !== process.geteuid())
    throw new Error(`${folder} belongs to somebody else (uid ${uid}). Remove it: it is made anew.`);
}

/** Below a root that several accounts share, each makes its own staging folder in one that all may write to. */
export async function prepareSharedStaging(root: string): Promise<void> {
  const folder = `${root}/${STAGING_FOLDER}`;
  await makeFolder(folder, 0o700);
  await requireOurs(folder);
  await chmod(folder, 0o1777);
}

async function makeFolder(folder: string, mode: number): Promise<void> {
  await mkdir(folder, { mode }).catch((error: unknown) => {
    if (!hasErrno(error, 'EEXIST')) throw error;
  });
  const stats = await lstat(folder);
  if (!stats.isDirectory())
    throw new Error(`${folder} must be a folder; it is where uploads are kept until they are complete.`);
}

/** Removes what processes that are gone have left behind. Returns how many entries it removed. */
export async function sweepStaging(folder: string): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    if (await isAbandoned(folder, name)) {
      await rm(`${folder}/${name}`, { recursive: true, force: true });
      removed += 1;
    }
  }
  return removed;
}

/** Whether the process that made something of that name on this host is gone. */
export function isMakerGone(name: string): boolean {
  const [, madeOn, pid, start] = NAME.exec(name) ?? [];
  return madeOn === host && pid !== undefined && startTime(Number(pid)) !== start;
}

/** Whether the process that made an entry, by its name, is gone. */
export async function isAbandoned(folder: string, name: string): Promise<boolean> {
  const [, madeOn, pid, start] = NAME.exec(name) ?? [];
  if (madeOn === host && pid !== undefined) return startTime(Number(pid)) !== start;
  try {
    const { mtimeMs } = await lstat(`${folder}/${name}`);
    return Date.now() - mtimeMs > FOREIGN_AGE_MILLISECONDS;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
