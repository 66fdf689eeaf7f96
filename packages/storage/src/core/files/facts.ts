import type { BigIntStats } from 'node:fs';
import { WeftError } from '@weft/kernel/errors';
import type { FileFacts } from './types.ts';

/** @throws {WeftError} `forbidden` for links, pipes, sockets and devices. */
export function toFacts(stats: BigIntStats): FileFacts {
  const facts = toServedFacts(stats);
  if (facts) return facts;
  if (stats.isSymbolicLink())
    throw new WeftError('forbidden', 'symbolic-link', 'Symbolic links are not followed.');
  throw new WeftError('forbidden', 'special-file', 'Only regular files and collections are served.');
}

/** Nothing for what is neither a regular file nor a directory. */
export function toServedFacts(stats: BigIntStats): FileFacts | undefined {
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'collection' : undefined;
  if (!kind) return undefined;
  return {
    kind,
    inode: stats.ino,
    size: kind === 'file' ? Number(stats.size) : 0,
    modifiedNs: stats.mtimeNs,
    // Not every file system keeps the time of birth.
    createdNs: stats.birthtimeNs > 0n ? stats.birthtimeNs : stats.mtimeNs,
    mode: Number(stats.mode),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
  };
}
