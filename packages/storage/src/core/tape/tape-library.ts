import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestStream } from '../checksums/digests.ts';

/** Where copies lie that are not on disk: the part of a tape system that a simulation has to have. */
export interface TapeLibrary {
  /** Keeps a copy under a name, durable when it resolves; one of that name is replaced. */
  store(name: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<{ adler32: string }>;
  /** The copy, whole. @throws {TapeFailure} */
  fetch(name: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  has(name: string): Promise<boolean>;
  erase(name: string): Promise<void>;
  /** What has lain there for so long, copies that came to nothing included. */
  olderThan(seconds: number): Promise<string[]>;
}

/** A drive, a cartridge or a robot did not work; another attempt may. */
export class TapeFailure extends Error {
  override readonly name = 'TapeFailure';
}

export interface TapeLibraryOptions {
  /** Made when it is missing. */
  readonly folder: string;
  /** What a real robot needs to mount a cartridge and to wind it. */
  readonly mountSeconds: number;
  /** Of one drive; nothing: as fast as the disk. */
  readonly bytesPerSecond: number | undefined;
  /** Part of the attempts that fail, from 0 to 1. */
  readonly failureRate: number;
}

const CHUNK_BYTES = 1024 * 1024;

/** A folder that behaves like a tape library: it takes its time, and fails as often as it is told to. */
export async function openTapeLibrary(options: TapeLibraryOptions): Promise<TapeLibrary> {
  const { folder, mountSeconds, bytesPerSecond, failureRate } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const fileOf = (name: string) => join(folder, name);

  async function mount(signal: AbortSignal): Promise<void> {
    if (mountSeconds > 0) await sleep(mountSeconds * 1000, undefined, { signal });
    signal.throwIfAborted();
    if (Math.random() < failureRate) throw new TapeFailure('The drive could not read the cartridge.');
  }

  async function wind(bytes: number, signal: AbortSignal): Promise<void> {
    if (bytesPerSecond !== undefined) await sleep((bytes / bytesPerSecond) * 1000, undefined, { signal });
    signal.throwIfAborted();
  }

  return {
    async store(name, content, signal) {
      await mount(signal);
      const temporary = fileOf(`${name}.part`);
      const file = await open(temporary, 'w', 0o600);
      try {
        const sums = digestStream(['adler32']);
        for await (const chunk of content) {
          sums.update(chunk);
          await file.writeFile(chunk);
          await wind(chunk.length, signal);
        }
        await file.sync();
        await rename(temporary, fileOf(name));
        const directory = await open(folder, 'r');
        await directory.sync().finally(() => directory.close());
        return { adler32: sums.finish().adler32 ?? '' };
      } finally {
        await file.close();
      }
    },
    async *fetch(name, signal) {
      await mount(signal);
      const file = await open(fileOf(name), 'r');
      try {
        for (;;) {
          const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES);
          if (bytesRead === 0) return;
          await wind(bytesRead, signal);
          yield buffer.subarray(0, bytesRead);
        }
      } finally {
        await file.close();
      }
    },
    has: (name) =>
      stat(fileOf(name)).then(
        () => true,
        () => false,
      ),
    erase: (name) => rm(fileOf(name), { force: true }),
    async olderThan(seconds) {
      const before = Date.now() - seconds * 1000;
      const old: string[] = [];
      for (const name of await readdir(folder)) {
        const stats = await stat(fileOf(name)).catch(() => undefined);
        if (stats && stats.mtimeMs < before) old.push(name);
      }
      return old;
    },
  };
}
