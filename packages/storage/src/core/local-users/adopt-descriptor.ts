import { closeSync, fstatSync } from 'node:fs';
import { closeDescriptor, readAt } from '../files/descriptors.ts';
import { withFileErrors } from '../files/file-errors.ts';
import type { FileFacts } from '../files/types.ts';
import type { OpenDescriptor } from './remote-files.ts';

/** Duplicates what another process has open into this one. */
export interface Adopter {
  /** Nothing when it is not the regular file that `facts` speak of, or where the kernel refuses. */
  adopt(descriptor: number, facts: FileFacts): OpenDescriptor | undefined;
  /** When the process is gone. */
  close(): void;
}

/**
 * For one process, which must still be a child that nobody has waited for: its number cannot have been given to another
 * one then, and what is opened for it stands for it alone from there on.
 */
export type AdoptFrom = (pid: number) => Adopter;

/** Linux's numbers, the same on every architecture (syscalls added after 2011). */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

const NOTHING: Adopter = { adopt: () => undefined, close: () => undefined };

/**
 * Content of a GET then goes from the disk to the connection without passing through the worker, which saves almost half
 * of the time (brief teapot 6). The worker has opened the file as its user; this is that open file, not the file opened
 * once more: opening `/proc/<pid>/fd/<n>` as root would let a worker that was taken over have anything read that it can
 * merely name.
 *
 * Node has no call for this; without the optional package `koffi`, or the capability SYS_PTRACE, nothing is adopted.
 */
export async function loadAdopt(): Promise<AdoptFrom> {
  const syscall = await loadSyscall();
  if (!syscall) return () => NOTHING;
  return (pid) => {
    let process: number | undefined = syscall(SYS_PIDFD_OPEN, pid, 0, 0);
    if (process < 0) return NOTHING;
    return {
      adopt(descriptor, facts) {
        if (process === undefined) return undefined;
        const own = syscall(SYS_PIDFD_GETFD, process, descriptor, 0);
        if (own < 0) return undefined;
        if (!isFileOf(own, facts)) {
          closeSync(own);
          return undefined;
        }
        return {
          read: (buffer, position) => withFileErrors(() => readAt(own, buffer, position)),
          close: () => closeDescriptor(own),
        };
      },
      close() {
        if (process !== undefined) closeSync(process);
        process = undefined;
      },
    };
  };
}

/** A pipe or a socket would never end, a device has no size, and some file systems answer their owner only. */
function isFileOf(descriptor: number, { inode }: FileFacts): boolean {
  try {
    const stats = fstatSync(descriptor, { bigint: true });
    return stats.isFile() && stats.ino === inode;
  } catch {
    // The worker may be anybody's; it is asked for the content itself.
    return false;
  }
}

/** Linux's close_range, and its flag that closes when another program begins. */
const SYS_CLOSE_RANGE = 436;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_DESCRIPTOR = 0x7fff_ffff;

/**
 * Lets no program that this process starts have what this process was given itself by whoever started it, beyond its standard
 * streams: Node sees to that only for descriptors that follow each other.
 */
export async function keepDescriptors(): Promise<void> {
  const syscall = await loadSyscall();
  syscall?.(SYS_CLOSE_RANGE, 3, LAST_DESCRIPTOR, CLOSE_RANGE_CLOEXEC);
}

type Syscall = (number: number, first: number, second: number, third: number) => number;

async function loadSyscall(): Promise<Syscall | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const call = koffi.load('libc.so.6').func('long syscall(long, long, long, long)');
    return (...args) => Number(call(...args));
  } catch {
    // The package is optional, and has no binary for every system; content then passes through the worker.
    return undefined;
  }
}
