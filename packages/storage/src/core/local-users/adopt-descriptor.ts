import { closeSync, fstatSync } from 'node:fs';
import { closeDescriptor, readAt } from '../files/descriptors.ts';
import { withFileErrors } from '../files/file-errors.ts';
import type { FileFacts } from '../files/types.ts';
import type { OpenDescriptor } from './remote-files.ts';

/** Duplicates what another process has open into this one; nothing where the kernel refuses. */
export type Adopt = (pid: number, descriptor: number, facts: FileFacts) => OpenDescriptor | undefined;

/** Linux's numbers, the same on every architecture (syscalls added after 2011). */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

/**
 * Content of a GET then goes from the disk to the connection without passing through the worker, which saves almost half
 * of the time (brief teapot 6). The worker has opened the file as its user; this is that open file, not the file opened
 * once more: opening `/proc/<pid>/fd/<n>` as root would let a worker that was taken over have anything read that it can
 * merely name.
 *
 * Node has no call for this; without the optional package `koffi`, or the capability SYS_PTRACE, nothing is adopted.
 */
export async function loadAdopt(): Promise<Adopt> {
  const syscall = await loadSyscall();
  if (!syscall) return () => undefined;
  return (pid, descriptor, facts) => {
    const process = syscall(SYS_PIDFD_OPEN, pid, 0, 0);
    if (process < 0) return undefined;
    const own = syscall(SYS_PIDFD_GETFD, process, descriptor, 0);
    closeSync(process);
    if (own < 0) return undefined;
    const stats = fstatSync(own, { bigint: true });
    if (!stats.isFile() || stats.ino !== facts.inode) {
      closeSync(own);
      return undefined;
    }
    return {
      read: (buffer, position) => withFileErrors(() => readAt(own, buffer, position)),
      close: () => closeDescriptor(own),
    };
  };
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
