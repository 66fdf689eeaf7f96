import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ExitError } from '../../errors/index.ts';

/** Whether `error` is a system error with this code, e.g. `ENOENT`. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Makes a folder if it is not there, with exactly this mode whatever the umask. */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
    await chmod(path, mode);
  } catch (cause) {
    if (isErrno(cause, 'ENOSPC'))
      throw new ExitError(74, `The disk of ${path} is full. Make room, or choose another --data.`, { cause });
    throw new ExitError(77, `The folder ${path} cannot be made or is not ours. Choose another --data.`, {
      cause,
    });
  }
}

/** A folder that nobody else can have prepared for us: a real folder (no link) of the expected owner. */
export async function requireOwnFolder(path: string, uid: number): Promise<void> {
  const facts = await lstat(path);
  if (facts.isDirectory() && facts.uid === uid) return;
  throw new ExitError(
    77,
    `${path} exists and belongs to somebody else. Remove it, or choose a shorter --data.`,
  );
}

/** Writes a file as a whole or not at all, durably. */
export async function writeWhole(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.new-${randomBytes(4).toString('hex')}`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** Makes a rename inside `path` survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
