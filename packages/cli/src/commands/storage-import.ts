import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describeError, ExitError } from '@weft/kernel/errors';
import { importStorm } from '../storage-import/import-storm.ts';
import { importTeapot } from '../storage-import/import-teapot.ts';
import { type Imported, printImported } from '../storage-import/imported.ts';

export interface StorageImportOptions {
  readonly site?: string;
  readonly url?: string;
}

/**
 * `weft storage import teapot CONFIG.INI [MAPPING-FILE...]`, `weft storage import storm FILE...`: another program's
 * configuration as sections of `weft.yaml`, on standard output. Changes nothing.
 */
export function storageImport(
  kind: 'teapot' | 'storm',
  files: readonly string[],
  options: StorageImportOptions,
): void {
  const texts = new Map(files.map((file) => [file, read(file)]));
  process.stdout.write(printImported(files.join(', '), convert(kind, texts, options)));
}

function convert(
  kind: 'teapot' | 'storm',
  texts: ReadonlyMap<string, string>,
  options: StorageImportOptions,
): Imported {
  if (kind === 'storm')
    return importStorm(new Map([...texts].map(([file, text]) => [basename(file), text])), options);
  const [[, configuration = ''] = [], ...mappingFiles] = texts;
  return importTeapot(configuration, { ...options, mappingFiles: new Map(mappingFiles) });
}

/** @throws {ExitError} 66 */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ExitError(66, `${file} cannot be read: ${describeError(cause)}`, { cause });
  }
}
