import { closeSync, fsyncSync, linkSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { isErrno } from './process-identity.ts';

/** Writes a file so that, whatever happens, it is there whole or not at all. */
export function writeDurably(file: string, content: string): void {
  const temporary = writeTemporary(file, content);
  renameSync(temporary, file);
  syncFolder(dirname(file));
}

/**
 * Makes a file with its content in one step, unless it is there. `false` when it was: of any number of callers, in any
 * number of processes and on any number of hosts that share the file system, exactly one gets `true`.
 */
export function createOnce(file: string, content: string): boolean {
  const temporary = writeTemporary(file, content);
  try {
    // link(2) fails when the name exists and, unlike O_EXCL, never shows a file that is still empty.
    linkSync(temporary, file);
    syncFolder(dirname(file));
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  } finally {
    unlinkSync(temporary);
  }
}

function writeTemporary(file: string, content: string): string {
  const temporary = `${file}.${process.pid}.${process.hrtime.bigint()}`;
  const descriptor = openSync(temporary, 'wx', 0o644);
  try {
    writeSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return temporary;
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
