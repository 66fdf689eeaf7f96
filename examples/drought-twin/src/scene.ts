import { createHash } from 'node:crypto';
import { FIRST_ISSUE, type TourArguments } from './arguments.ts';
import type { Instance } from './instance.ts';
import { adler32, historyFiles, monthlyFile, type ObservationFile, outlineFile } from './observations.ts';

export const SCOPE = 'drought';
/** Below which the storages keep the datalake's files. */
export const PREFIX = '/rucio';

/** A file with what the catalogue needs to know of it. */
export interface SceneFile extends ObservationFile {
  readonly adler32: string;
  readonly path: string;
}

export interface Dataset {
  readonly name: string;
  readonly files: readonly SceneFile[];
}

/** What the tour is about: who is there, and which data belong to which dataset. */
export interface Scene {
  readonly instance: Instance;
  readonly arguments: TourArguments;
  readonly history: Dataset;
  readonly live: Dataset;
  readonly outline: Dataset;
  readonly datasets: readonly Dataset[];
  readonly files: readonly SceneFile[];
  /** Holds the three datasets. */
  readonly container: string;
  /** Dataset of the warning. */
  readonly warning: string;
}

export function setScene(instance: Instance, args: TourArguments): Scene {
  const history = dataset('climdiv.history', historyFiles(FIRST_ISSUE));
  const live = dataset('climdiv.live', monthsUntil(args.issue).map(monthlyFile));
  const outline = dataset('climdiv.outline', [outlineFile()]);
  const datasets = [history, live, outline];
  return {
    instance,
    arguments: args,
    history,
    live,
    outline,
    datasets,
    files: datasets.flatMap(({ files }) => files),
    container: 'climdiv',
    warning: `warning-${args.issue}`,
  };
}

function dataset(name: string, files: readonly ObservationFile[]): Dataset {
  return {
    name,
    files: files.map((file) => ({ ...file, adler32: adler32(file.bytes), path: pathOf(file.name) })),
  };
}

/** Where a storage of the datalake keeps a file of the example. */
export function pathOf(name: string): string {
  return `${PREFIX}/${hashedName(SCOPE, name)}`;
}

/**
 * Rucio's `hash` names: two pairs of hexadecimal digits of the MD5 of `scope:name` spread files over folders.
 *
 * @example hashedName('test', 'f1') // 'test/a1/62/f1'
 */
export function hashedName(scope: string, name: string): string {
  const digest = createHash('md5').update(`${scope}:${name}`).digest('hex');
  return `${scope}/${digest.slice(0, 2)}/${digest.slice(2, 4)}/${name}`;
}

function monthsUntil(issue: string): string[] {
  const numberOf = (text: string) => Number(text.slice(0, 4)) * 12 + Number(text.slice(5)) - 1;
  const first = numberOf(FIRST_ISSUE);
  return Array.from({ length: numberOf(issue) - first + 1 }, (_, i) => {
    const month = first + i;
    return `${Math.floor(month / 12)}-${String((month % 12) + 1).padStart(2, '0')}`;
  });
}
