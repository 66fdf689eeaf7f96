import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { SYSTEM_PATH } from './account.ts';

/** Absolute path of a system program, whatever PATH we were started with; `undefined` when it is not installed. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of `${SYSTEM_PATH}:${process.env.PATH ?? ''}`.split(':')) {
    const file = join(folder, name);
    const usable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && usable) return file;
  }
  return undefined;
}
