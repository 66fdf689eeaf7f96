import type { AnyTx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Areas, Place } from '../areas.ts';
import type { FileFacts } from '../files/types.ts';
import { plainPath, type Segments } from '../segments.ts';
import type { Locality, TapeSystem } from './tape-system.ts';

/** A file as somebody asked about it. */
export interface AskedFile {
  /** As it was asked for. */
  readonly asked: string;
  readonly segments: Segments;
}

/** Where it is, or why that cannot be said. */
export interface FoundFile extends AskedFile {
  /** Plain. */
  readonly path: string;
  readonly locality?: Locality;
  readonly error?: string;
}

/** Files looked at together. */
const LOOKS_AT_ONCE = 32;

/** Where each of these files lies, in the order asked; one query an area. */
export async function lookUpFiles(
  tape: TapeSystem,
  areas: Areas,
  asked: readonly AskedFile[],
  connection?: AnyTx,
): Promise<FoundFile[]> {
  const looks: Look[] = [];
  for (let at = 0; at < asked.length; at += LOOKS_AT_ONCE)
    looks.push(...(await Promise.all(asked.slice(at, at + LOOKS_AT_ONCE).map((file) => look(areas, file)))));
  const localities = new Map<Look, Locality>();
  for (const area of areas.all) {
    const inArea = looks.flatMap((one) =>
      one.place?.area === area && one.facts ? [{ one, facts: one.facts }] : [],
    );
    const found = await tape.localities(
      area,
      inArea.map(({ one, facts }) => ({ ...facts, path: one.path })),
      connection,
    );
    for (const [index, { one }] of inArea.entries()) localities.set(one, found[index] ?? 'DISK');
  }
  return looks.map((one) => {
    const { asked: text, segments, path, error } = one;
    const locality = localities.get(one);
    return {
      asked: text,
      segments,
      path,
      ...(locality === undefined ? {} : { locality }),
      ...(error === undefined ? {} : { error }),
    };
  });
}

interface Look extends AskedFile {
  readonly path: string;
  readonly place?: Place;
  readonly facts?: FileFacts;
  readonly error?: string;
}

async function look(areas: Areas, file: AskedFile): Promise<Look> {
  const path = plainPath(file.segments);
  try {
    const place = areas.locate(file.segments);
    const facts = await place.area.files.stat(place.inner);
    if (facts.kind === 'collection') return { ...file, path, error: 'It is a directory.' };
    return { ...file, path, place, facts };
  } catch (error) {
    if (!(error instanceof WeftError) || error.status >= 500) throw error;
    return {
      ...file,
      path,
      error: error.kind === 'not-found' ? 'No such file or directory' : describeError(error),
    };
  }
}
