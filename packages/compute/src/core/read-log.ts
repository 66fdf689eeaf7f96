import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../shim/process-identity.ts';

export interface LogOptions {
  /** The last so many lines; 0 is none. */
  readonly tailLines: number | undefined;
  /** At most so many bytes. */
  readonly limitBytes: number | undefined;
  readonly timestamps: boolean;
  readonly since: Date | undefined;
  /** Go on until `ended` says so. */
  readonly follow: boolean;
}

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
/** How soon a follower sees what was written (brief interlink 6: under 300 ms). */
const FOLLOW_MILLISECONDS = 100;

/**
 * A container's log as it was written, from a file in the Kubernetes container log format, in constant memory.
 *
 * @param ended whether the container writes no more; asked when the end of the file is reached
 */
export async function* readLog(
  file: string,
  options: LogOptions,
  ended: () => Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  const handle = await openWhenThere(file, options.follow, ended, signal);
  if (handle === undefined) return;
  try {
    const start = options.tailLines === undefined ? 0 : await startOfTail(handle, options.tailLines);
    for await (const line of readLines(handle, start, options.follow ? ended : undefined, signal)) {
      const text = printLine(line, options);
      if (text === undefined) continue;
      if (text.length >= left) {
        yield text.subarray(0, left);
        return;
      }
      left -= text.length;
      yield text;
    }
  } finally {
    await handle.close();
  }
}

async function openWhenThere(
  file: string,
  follow: boolean,
  ended: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<FileHandle | undefined> {
  for (;;) {
    // Asked first: a container that had ended before we looked has written its log.
    const over = !follow || (await ended());
    try {
      return await open(file, 'r');
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      if (over || signal.aborted) return undefined;
    }
    await sleep(FOLLOW_MILLISECONDS * 2);
  }
}

/** Lines with their newline; while following, waits for more at the end of the file. */
async function* readLines(
  handle: FileHandle,
  start: number,
  ended: (() => Promise<boolean>) | undefined,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let position = start;
  let rest: Buffer = Buffer.alloc(0);
  let last = ended === undefined;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  while (!signal.aborted) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) {
      if (last || ended === undefined) return;
      // Once more after the end is known: what was written before it must not be missed.
      last = await ended();
      if (!last) await sleep(FOLLOW_MILLISECONDS);
      continue;
    }
    position += bytesRead;
    const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, from)) {
      yield bytes.subarray(from, end + 1);
      from = end + 1;
    }
    rest = bytes.subarray(from);
  }
}

/** `<time> <stream> <F|P> <text>\n` → what the container wrote: without a newline if there was none. */
function printLine(line: Buffer, options: LogOptions): Buffer | undefined {
  const afterTime = line.indexOf(0x20);
  const tag = line.indexOf(0x20, afterTime + 1) + 1;
  const time = line.toString('latin1', 0, afterTime);
  if (options.since !== undefined && new Date(time) < options.since) return undefined;
  const whole = line[tag] === 0x46; // F
  const text = line.subarray(tag + 2, whole ? line.length : line.length - 1);
  return options.timestamps ? Buffer.concat([Buffer.from(`${time} `), text]) : text;
}

/** Where the last lines begin, read from the end: a log of a gigabyte costs no more than its tail. */
async function startOfTail(handle: FileHandle, lines: number): Promise<number> {
  const { size } = await handle.stat();
  if (lines === 0) return size;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let seen = 0;
  for (let end = size; end > 0; end -= Math.min(end, CHUNK_BYTES)) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const { bytesRead } = await handle.read(chunk, 0, end - start, start);
    for (let index = bytesRead - 1; index >= 0; index--) {
      if (chunk[index] !== NEWLINE || start + index === size - 1) continue;
      seen++;
      if (seen === lines) return start + index + 1;
    }
  }
  return 0;
}
