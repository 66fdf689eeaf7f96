import type { Digests } from '../core/checksums/digests.ts';
import { isCollection } from '../core/files/packed-entries.ts';
import type { PackedEntries, Space } from '../core/files/types.ts';
import { ByteWriter } from './byte-writer.ts';
import {
  arrangeProperties,
  printResource,
  type Question,
  RESPONSE,
  type ResponsePart,
} from './print-properties.ts';
import type { LiveProperty, Resource } from './properties.ts';
import {
  type Cursor,
  isAdler32Alone,
  MAXIMUM_PROPERTY_BYTES,
  NOTHING_KNOWN,
  type WriteProperty,
  writeHrefName,
  writerOf,
} from './write-properties.ts';
import { escapeXml } from './xml.ts';

export interface EntryPrinter {
  /**
   * Prints the responses of entries, in chunks. `digests`: of each entry what is known. `special`: by index, those of which
   * more is to be told than the file system and the checksums say.
   */
  print(
    entries: PackedEntries,
    digests: readonly (Digests | undefined)[] | undefined,
    special: ReadonlyMap<number, Resource>,
  ): Generator<Buffer, void, void>;
}

/** A response with gaps. */
interface Template {
  readonly parts: readonly (Uint8Array | WriteProperty)[];
  readonly maximumBytes: number;
}

/**
 * Prints entries of one collection, `href`, which ends with a slash. What is the same for all files, or for all
 * collections, is put together once as bytes; for each entry only the gaps are filled, from memory to memory. `space` is
 * that of the area.
 */
export function createEntryPrinter(
  question: Question,
  { href, space }: { href: string; space: Space | undefined },
): EntryPrinter {
  const out = new ByteWriter();
  const collection = prepare('collection', NOTHING_KNOWN);
  const file = prepare('file', NOTHING_KNOWN);
  const summedFile = prepare('file', { adler32: '00000001' });
  /** By the names of the digests that are known. */
  const otherFiles = new Map<string, Template>();

  /** What an entry has depends on its kind and on what is known of it, and on nothing else. */
  function prepare(kind: 'file' | 'collection', digests: Digests): Template {
    const sample: Resource = {
      path: ['name'],
      href,
      facts: { kind, inode: 1n, size: 0, modifiedNs: 0n, createdNs: 0n, mode: 0, uid: 0, gid: 0 },
      digests,
      space: kind === 'collection' ? space : undefined,
      locality: undefined,
      locks: [],
      dead: [],
    };
    const contentOf = (property: LiveProperty): ResponsePart | undefined => {
      const content = property.print(sample);
      return content === undefined || property.common ? content : property;
    };
    const properties = arrangeProperties(question, contentOf, []);
    const parts: (Uint8Array | WriteProperty)[] = [];
    let text = RESPONSE.start + escapeXml(href);
    const leaveGap = (write: WriteProperty) => {
      parts.push(Buffer.from(text), write);
      text = '';
    };
    leaveGap(writeHrefName);
    text += (kind === 'collection' ? '/' : '') + RESPONSE.afterHref;
    for (const part of properties) {
      if (typeof part === 'string') text += part;
      else leaveGap(writerOf(part));
    }
    parts.push(Buffer.from(text + RESPONSE.end));
    const maximumBytes = parts.reduce(
      (sum, part) => sum + (typeof part === 'function' ? MAXIMUM_PROPERTY_BYTES : part.length),
      0,
    );
    return { parts, maximumBytes };
  }

  function templateOf({ entries, index, digests }: Cursor): Template {
    if (isCollection(entries, index)) return collection;
    if (digests === NOTHING_KNOWN) return file;
    if (isAdler32Alone(digests)) return summedFile;
    const names = Object.keys(digests).join();
    let template = otherFiles.get(names);
    if (!template) {
      template = prepare('file', digests);
      otherFiles.set(names, template);
    }
    return template;
  }

  return {
    *print(entries, digests, special) {
      const cursor: Cursor = { entries, index: 0, digests: NOTHING_KNOWN, space };
      for (let index = 0; index < entries.count; index++) {
        const resource = special.get(index);
        if (resource) {
          const text = printResource(resource, question);
          out.reserve(text.length * 3);
          out.text(text);
        } else {
          cursor.index = index;
          cursor.digests = digests?.[index] ?? NOTHING_KNOWN;
          const { parts, maximumBytes } = templateOf(cursor);
          out.reserve(maximumBytes);
          for (const part of parts) {
            if (typeof part === 'function') part(out, cursor);
            else out.bytes(part);
          }
        }
        if (out.hasFull) yield* out.takeFull();
      }
      yield* out.take();
    },
  };
}
