import { WeftError } from '@weft/kernel/errors';

export const STAGE_IN = 'datalake.dte/stage-in';
export const STAGE_OUT = 'datalake.dte/stage-out';

/** `drought:climdiv -> /in`: the files of a DID, laid flat under a folder of the container. */
export interface StageIn {
  readonly scope: string;
  readonly name: string;
  readonly folder: string;
}

/** `/out/* -> drought:warning-2010-12 @ HPC-SCRATCH`: files into a storage, registered and attached to a dataset. */
export interface StageOut {
  readonly folder: string;
  /** Of file names in the folder; `*` stands for anything, `?` for one character. */
  readonly pattern: string;
  readonly scope: string;
  readonly dataset: string;
  readonly rse: string;
}

/** Rucio's generic schema: letters, digits, `.`, `-`, `_`; in names of DIDs also `/`, which we do not stage. */
const SCOPE = '[A-Za-z0-9][\\w.-]{0,29}';
const NAME = '[A-Za-z0-9][\\w.+-]{0,249}';
const FOLDER = '/[^\\s]*';

const STAGE_IN_LINE = new RegExp(`^(?<scope>${SCOPE}):(?<name>${NAME})\\s*->\\s*(?<folder>${FOLDER})$`);
const STAGE_OUT_LINE = new RegExp(
  `^(?<path>${FOLDER})\\s*->\\s*(?<scope>${SCOPE}):(?<dataset>${NAME})\\s*@\\s*(?<rse>[A-Z0-9]+(?:[_-][A-Z0-9]+)*)$`,
);

/** @throws {WeftError} `invalid`, code `stage-in-invalid`, quoting the line. */
export function parseStageIn(annotation: string | undefined): StageIn[] {
  return lines(annotation).map((line) => {
    const { scope, name, folder } = STAGE_IN_LINE.exec(line)?.groups ?? {};
    if (scope === undefined || name === undefined || folder === undefined) {
      throw new WeftError(
        'invalid',
        'stage-in-invalid',
        `${STAGE_IN}: "${line}" is not "scope:name -> /folder".`,
      );
    }
    return { scope, name, folder: cleanFolder(folder, line) };
  });
}

/** @throws {WeftError} `invalid`, code `stage-out-invalid`, quoting the line. */
export function parseStageOut(annotation: string | undefined): StageOut[] {
  return lines(annotation).map((line) => {
    const { path, scope, dataset, rse } = STAGE_OUT_LINE.exec(line)?.groups ?? {};
    if (path === undefined || scope === undefined || dataset === undefined || rse === undefined) {
      throw new WeftError(
        'invalid',
        'stage-out-invalid',
        `${STAGE_OUT}: "${line}" is not "/folder/* -> scope:dataset @ RSE".`,
      );
    }
    const slash = path.lastIndexOf('/');
    const pattern = path.slice(slash + 1);
    if (pattern === '') {
      throw new WeftError(
        'invalid',
        'stage-out-invalid',
        `${STAGE_OUT}: "${line}" names no files: end the path in "/*".`,
      );
    }
    return { folder: cleanFolder(path.slice(0, slash), line), pattern, scope, dataset, rse };
  });
}

/** Whether a file name fits a pattern with `*` and `?`; linear in practice, names are short. */
export function matchesPattern(name: string, pattern: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 's').test(name);
}

function lines(annotation: string | undefined): string[] {
  return (annotation ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** A folder is absolute, plain and not the root: staging must not cover the image. */
function cleanFolder(folder: string, line: string): string {
  const segments = folder.split('/').filter((segment) => segment !== '');
  if (segments.length === 0 || segments.includes('..') || segments.includes('.')) {
    throw new WeftError(
      'invalid',
      'staging-folder',
      `"${line}" needs a folder below /, without "." and "..".`,
    );
  }
  return `/${segments.join('/')}`;
}
