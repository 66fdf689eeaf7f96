import { constants, type PathLike } from 'node:fs';
import { access, lstat } from 'node:fs/promises';
import { toFacts } from './facts.ts';
import { hasErrno } from './file-errors.ts';
import type { Permissions } from './types.ts';

/** Asks the kernel with access(2), as the account of this process. */
export async function permissionsAt(entry: PathLike): Promise<Permissions> {
  // Of a link it would speak about what that leads to.
  toFacts(await lstat(entry, { bigint: true }));
  const may = (mode: number) =>
    access(entry, mode).then(
      () => true,
      (error: unknown) => {
        if (hasErrno(error, 'EACCES', 'EPERM', 'EROFS')) return false;
        throw error;
      },
    );
  const [read, write, enter] = await Promise.all([
    may(constants.R_OK),
    may(constants.W_OK),
    may(constants.X_OK),
  ]);
  return { read, write, enter };
}
