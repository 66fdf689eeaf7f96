import { writeSync } from 'node:fs';

/** A line longer than this is written in parts, as container runtimes do (CRI: 16 KiB). */
const MAXIMUM_LINE_BYTES = 16 * 1024;
const NEWLINE = 0x0a;

/**
 * Turns a stream's bytes into lines of the Kubernetes container log format, written at once:
 * `2026-01-02T03:04:05.678000000Z stdout F text`. `P` instead of `F` marks a part of a line that goes on.
 */
export class LogLines {
  readonly #descriptor: number;
  readonly #stream: 'stdout' | 'stderr';
  #rest: Buffer = Buffer.alloc(0);

  constructor(descriptor: number, stream: 'stdout' | 'stderr') {
    this.#descriptor = descriptor;
    this.#stream = stream;
  }

  write(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const time = `${new Date().toISOString().slice(0, -1)}000000Z`;
    const parts: Buffer[] = [];
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, start);
      const length = (end === -1 ? bytes.length : end) - start;
      if (length > MAXIMUM_LINE_BYTES) {
        parts.push(this.#line(time, 'P', bytes.subarray(start, start + MAXIMUM_LINE_BYTES)));
        start += MAXIMUM_LINE_BYTES;
      } else if (end === -1) {
        break;
      } else {
        parts.push(this.#line(time, 'F', bytes.subarray(start, end)));
        start = end + 1;
      }
    }
    this.#rest = Buffer.from(bytes.subarray(start));
    if (parts.length > 0) writeAll(this.#descriptor, Buffer.concat(parts));
  }

  /** The stream has ended: what is left is a line without an end. */
  end(): void {
    if (this.#rest.length === 0) return;
    const time = `${new Date().toISOString().slice(0, -1)}000000Z`;
    writeAll(this.#descriptor, this.#line(time, 'P', this.#rest));
    this.#rest = Buffer.alloc(0);
  }

  #line(time: string, tag: 'F' | 'P', text: Uint8Array): Buffer {
    return Buffer.concat([Buffer.from(`${time} ${this.#stream} ${tag} `), text, Buffer.from('\n')]);
  }
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
}
