import { mkdir, realpath } from 'node:fs/promises';
import { WeftError } from '@weft/kernel/errors';
import type { AreaConfig } from '../config.ts';
import { loadCachedLookup } from './files/cached-lookup.ts';
import { openLocalFiles } from './files/local-files.ts';
import type { AreaFiles } from './files/types.ts';
import type { Account } from './local-users/accounts.ts';
import { isWithin, parseResourcePath, plainPath, type Segments } from './resource-path.ts';

/** A folder of the site that appears below the instance's URL. */
export interface Area {
  readonly name: string;
  /** Where it appears. */
  readonly base: Segments;
  readonly readOnly: boolean;
  readonly config: AreaConfig;
  /** Who reads and writes the files, in multi-user mode. */
  readonly account?: Pick<Account, 'name' | 'uid'>;
  readonly files: AreaFiles;
}

/** A path of the URL space and what it is inside its area. */
export interface Place {
  readonly area: Area;
  /** As in the URL: what scopes, locks, events and hrefs speak of. */
  readonly path: Segments;
  /** Below the area's root: what the file system is asked for. */
  readonly inner: Segments;
}

export interface Areas {
  readonly all: readonly Area[];
  /** The place of a path; `undefined` when no area covers it (a virtual parent of areas, or nothing at all). */
  find(path: Segments): Place | undefined;
  /** @throws {WeftError} `not-found`. */
  locate(path: Segments): Place;
  /** Next components below `path` on the way to areas: what a virtual collection lists. Empty: there is nothing. */
  virtualChildren(path: Segments): readonly string[];
  close(): Promise<void>;
}

/** Opens every area as the account of this process, and removes what a crash has left in its staging folder. */
export async function openAreas(configs: readonly AreaConfig[]): Promise<Areas> {
  const all: Area[] = [];
  for (const config of configs) {
    if (/\{(username|uid|home)\}/.test(config.root))
      throw new Error(`storage: the root ${config.root} of area ${config.name} needs multi_user.`);
    await mkdir(config.root, { recursive: true, mode: 0o750 });
    const files = await openLocalFiles({
      root: config.root,
      durability: config.durability,
      umask: config.umask,
      lookUpCached: await loadCachedLookup(await realpath(config.root)),
    });
    await files.sweep();
    all.push({ name: config.name, base: baseOf(config), readOnly: config.read_only, config, files });
  }
  return arrangeAreas(all);
}

export function baseOf({ path }: Pick<AreaConfig, 'path'>): Segments {
  return parseResourcePath(path).segments;
}

export function arrangeAreas(all: readonly Area[]): Areas {
  // The longest base decides: `/data/private` may be another area than `/data`.
  const byDepth = all.toSorted((one, other) => other.base.length - one.base.length);

  const find = (path: Segments): Place | undefined => {
    const area = byDepth.find(({ base }) => isWithin(base, path));
    return area && { area, path, inner: path.slice(area.base.length) };
  };

  return {
    all,
    find,
    locate(path) {
      const place = find(path);
      if (!place) throw new WeftError('not-found', 'not-found', `No storage area serves ${plainPath(path)}.`);
      return place;
    },
    virtualChildren(path) {
      const below = all.filter(({ base }) => base.length > path.length && isWithin(path, base));
      return [...new Set(below.map(({ base }) => base[path.length] ?? ''))];
    },
    close: async () => {
      for (const { files } of all) await files.close();
    },
  };
}
