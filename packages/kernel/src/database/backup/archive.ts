import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress, createZstdDecompress } from 'node:zlib';
import { ExitError } from '../../errors/index.ts';

/**
 * A backup is one Zstandard stream of records: a kind (one byte), a length (four bytes, big endian), the content. It begins
 * with the header and ends with a seal, the SHA-256 of all bytes before it, so that a damaged or cut file is known as such.
 */
export type RecordKind =
  | 'header' // JSON: format, versions, tables
  | 'table' // JSON: the rows that follow belong to it
  | 'rows' // a piece of COPY's text format
  | 'sequences' // JSON
  | 'seal'; // 32 bytes

const CODES: Readonly<Record<RecordKind, number>> = {
  header: 72,
  table: 84,
  rows: 68,
  sequences: 83,
  seal: 90,
};
const KINDS = new Map(Object.entries(CODES).map(([kind, code]) => [code, kind as RecordKind]));
const HEAD_BYTES = 5;
const SEAL_BYTES = 32;
/** No record is larger; anything else is a damaged length. */
const RECORD_BYTES = 64 * 1024 * 1024;

export interface BackupRecord {
  readonly kind: RecordKind;
  readonly content: Buffer;
}

export interface ArchiveWriter {
  write(kind: Exclude<RecordKind, 'seal'>, content: Uint8Array | object): Promise<void>;
  /** Writes the seal; resolves when everything has reached `output`. */
  finish(): Promise<void>;
  /** Gives up; `output` is destroyed. */
  abort(error: Error): void;
}

export function createArchiveWriter(output: Writable): ArchiveWriter {
  const compressed = createZstdCompress();
  const flowing = pipeline(compressed, output);
  // Told by `finish`; a failure before that ends the writes below.
  flowing.catch(() => undefined);
  const hash = createHash('sha256');

  async function put(kind: RecordKind, content: Uint8Array): Promise<void> {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt8(CODES[kind], 0);
    head.writeUInt32BE(content.length, 1);
    if (kind !== 'seal') hash.update(head).update(content);
    compressed.write(head);
    if (!compressed.write(content)) await Promise.race([once(compressed, 'drain'), flowing]);
  }

  return {
    write: async (kind, content) =>
      await put(kind, content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content))),
    async finish() {
      await put('seal', hash.digest());
      compressed.end();
      await flowing;
    },
    abort: (error) => void compressed.destroy(error),
  };
}

/**
 * Reads the records up to the seal and checks it.
 *
 * @throws {ExitError} 65 when the file is no backup, damaged or cut; before the last record is given, so a reader that
 *   commits afterwards commits nothing false.
 */
export async function* readArchive(input: Readable): AsyncGenerator<BackupRecord> {
  const plain = createZstdDecompress();
  const flowing = pipeline(input, plain);
  flowing.catch(() => undefined);
  const hash = createHash('sha256');
  let rest = Buffer.alloc(0);
  let sealed = false;
  try {
    for await (const piece of plain) {
      rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
      while (rest.length >= HEAD_BYTES && !sealed) {
        const kind = KINDS.get(rest.readUInt8(0));
        const length = rest.readUInt32BE(1);
        if (kind === undefined || length > RECORD_BYTES) throw damaged('it holds an unknown record');
        if (rest.length < HEAD_BYTES + length) break;
        const content = rest.subarray(HEAD_BYTES, HEAD_BYTES + length);
        if (kind === 'seal') {
          if (length !== SEAL_BYTES || !content.equals(hash.digest())) throw damaged('its checksum is wrong');
          sealed = true;
        } else {
          hash.update(rest.subarray(0, HEAD_BYTES + length));
          yield { kind, content };
        }
        rest = rest.subarray(HEAD_BYTES + length);
      }
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(ZSTD|Z)_/.test(String(error.code))) {
      throw damaged('it cannot be unpacked');
    }
    throw error;
  }
  if (!sealed) throw damaged('its end is missing');
}

function damaged(what: string): ExitError {
  return new ExitError(65, `The backup cannot be used: ${what}. Take another copy of it.`);
}
