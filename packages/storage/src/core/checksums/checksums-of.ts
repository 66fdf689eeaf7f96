import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../areas.ts';
import { CONTENT_BUFFER_BYTES, returnContentBuffer, takeContentBuffer } from '../content-buffers.ts';
import type { Door } from '../door.ts';
import type { FileFacts, OpenFile } from '../files/types.ts';
import { plainPath } from '../segments.ts';
import { type Algorithm, type Digests, digestStream } from './digests.ts';

/**
 * Checksums of a file's present content: what is known, and what is asked for besides is computed and remembered. Of what
 * lies on tape only the former.
 */
export async function checksumsOf(
  door: Door,
  place: Place,
  facts: FileFacts,
  wanted: readonly Algorithm[],
): Promise<Digests> {
  const { area } = place;
  const [known = {}] = await door.checksums.find(area.name, [facts]);
  const missing = wanted.filter((algorithm) => known[algorithm] === undefined);
  if (missing.length === 0) return known;
  const file = await openOnDisk(place);
  if (!file) return { ...(await checksumOnTape(door, place, facts)), ...known };
  try {
    const computed = await sumFile(file, missing);
    await door.journal.write({ checksums: [{ area: area.name, facts: file.facts, digests: computed }] });
    return file.facts.modifiedNs === facts.modifiedNs ? { ...known, ...computed } : computed;
  } finally {
    await file.close();
  }
}

/** What was written to tape is known also while the stub is only just taking its place. */
async function checksumOnTape({ tape }: Door, { area, path }: Place, facts: FileFacts): Promise<Digests> {
  const [state] = (await tape?.files.find(area.name, [{ ...facts, path: plainPath(path) }])) ?? [];
  return state?.adler32 === undefined ? {} : { adler32: state.adler32 };
}

async function openOnDisk({ area, inner }: Place): Promise<OpenFile | undefined> {
  try {
    return await area.files.open(inner);
  } catch (error) {
    if (error instanceof WeftError && error.code === 'nearline') return undefined;
    throw error;
  }
}

/** @throws {WeftError} `unavailable` when somebody writes to the file while it is summed. */
export async function sumFile(file: OpenFile, algorithms: readonly Algorithm[]): Promise<Digests> {
  const digests = digestStream(algorithms);
  const buffer = takeContentBuffer();
  try {
    for (let position = 0; position < file.facts.size; ) {
      const bytes = await file.read(buffer, position);
      if (bytes === 0) break;
      digests.update(buffer.subarray(0, bytes));
      position += bytes;
      if (bytes < CONTENT_BUFFER_BYTES) break;
    }
  } finally {
    returnContentBuffer(buffer);
  }
  const now = await file.refresh();
  if (now.size !== file.facts.size || now.modifiedNs !== file.facts.modifiedNs) {
    throw new WeftError(
      'unavailable',
      'changing-file',
      'The file is being written to; its checksum cannot be told yet.',
    );
  }
  return digests.finish();
}
