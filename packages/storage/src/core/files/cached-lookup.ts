import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type { Segments } from '../segments.ts';
import { toFacts } from './facts.ts';
import { STAGING_FOLDER } from './staging.ts';
import type { FileFacts } from './types.ts';

/** What stands at a path, or nothing; no answer where the kernel would have to ask the storage for it. */
export type LookUpCached = (path: Segments) => { readonly facts: FileFacts | undefined } | undefined;

/** Linux's number, the same on every architecture (syscalls added after 2011). */
const SYS_OPENAT2 = 437;

/** `linux/openat2.h`: fail with EAGAIN rather than wait, stay below, follow no link of any kind. */
const RESOLVE_CACHED = 0x20;
const RESOLVE_BENEATH = 0x08;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_NO_MAGICLINKS = 0x02;
/** `struct open_how`: flags, mode and resolve, 64 bits each. */
const HOW_BYTES = 24;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const ENOENT = 2;

/**
 * `f_type` of file systems that answer `fstat` of an inode in memory without asking anybody: ext4, XFS, Btrfs, tmpfs, F2FS, ZFS.
 */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0xf2f52010, 0x2fc12fc1]);

/**
 * Looks at files without a thread, as long as what is asked for lies in the kernel's memory, which then takes 3 µs where a
 * thread, however many calls it is given at once, takes 30 on both sides. The kernel walks the whole path in one call under
 * the same rule as `directory-walk.ts`: it never follows a link. What would have to wait gets no answer here.
 *
 * Nothing where that cannot be: another system than Linux from 5.12 on, without the optional package `koffi`, with system
 * calls forbidden, or on storage that may ask over a network for what the kernel knows already.
 */
export async function loadCachedLookup(root: string): Promise<LookUpCached | undefined> {
  const { type } = await statfs(root);
  const openBeneath = LOCAL.has(type) ? await loadOpenBeneath() : undefined;
  if (!openBeneath) return undefined;
  const { dev } = statSync(root, { bigint: true });
  // Of the machine's root, so that an area whose folder is replaced is found under its name again.
  const machine = openSync('/', O_PATH | constants.O_DIRECTORY);
  const base = root === '/' ? '.' : `.${root}`;
  return (path) => {
    const location = path.length === 0 ? base : `${base}/${path.join('/')}`;
    if (path[0] === STAGING_FOLDER || !location.isWellFormed()) return undefined;
    const descriptor = openBeneath(machine, location);
    if (descriptor === 'missing') return { facts: undefined };
    if (descriptor === undefined) return undefined;
    try {
      const stats = fstatSync(descriptor, { bigint: true });
      return stats.dev === dev ? { facts: toFacts(stats) } : undefined;
    } finally {
      closeSync(descriptor);
    }
  };
}

type OpenBeneath = (folder: number, path: string) => number | 'missing' | undefined;

async function loadOpenBeneath(): Promise<OpenBeneath | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const openat2 = koffi.load('libc.so.6').func('long syscall(long, int, str, void *, long)');
    const how = Buffer.alloc(HOW_BYTES);
    how.writeBigUInt64LE(BigInt(O_PATH | constants.O_NOFOLLOW | O_CLOEXEC), 0);
    how.writeBigUInt64LE(
      BigInt(RESOLVE_CACHED | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS),
      16,
    );
    return (folder, path) => {
      const descriptor = Number(openat2(SYS_OPENAT2, folder, path, how, HOW_BYTES));
      if (descriptor >= 0) return descriptor;
      return koffi.errno() === ENOENT ? 'missing' : undefined;
    };
  } catch {
    // The package is optional, and has no binary for every system.
    return undefined;
  }
}
