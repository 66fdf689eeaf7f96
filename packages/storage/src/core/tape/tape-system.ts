import { join } from 'node:path';
import type { ComponentContext } from '@weft/kernel/component';
import type { AnyTx, Sql } from '@weft/kernel/database';
import type { AreaConfig, StorageConfig } from '../../config.ts';
import { type Area, type Areas, arrangeAreas, baseOf } from '../areas.ts';
import type { ChecksumStore } from '../checksums/checksum-store.ts';
import type { FileFacts } from '../files/types.ts';
import type { Entry } from '../journal.ts';
import { isWithin, plainPath, type Segments } from '../segments.ts';
import type { Usage } from '../space/usage.ts';
import { guardFiles } from './guarded-files.ts';
import { createStageRequests, type StageRequests } from './stage-requests.ts';
import { createTapeFiles, type TapeFiles } from './tape-files.ts';
import { openTapeLibrary, type TapeLibrary } from './tape-library.ts';
import { createTapeWork, type TapeWork } from './work.ts';

/** Where a file's content lies, in the words of the WLCG tape REST interface (brief teapot 2.7). */
export type Locality = 'DISK' | 'TAPE' | 'DISK_AND_TAPE' | 'LOST' | 'NONE';

export type TapeConfig = NonNullable<StorageConfig['tape']>;

/** Runs work on the files of an account as the tape system itself sees them: stubs too. */
export type FileAccess = <Result>(
  account: string,
  work: (areas: Areas) => Promise<Result>,
) => Promise<Result>;

/** The simulated tape system of one instance, over the areas that have `tape` in their configuration. */
export interface TapeSystem {
  readonly config: TapeConfig;
  readonly instance: string;
  readonly files: TapeFiles;
  readonly requests: StageRequests;
  readonly work: TapeWork;
  readonly library: TapeLibrary;
  /** Where the library lies. */
  readonly folder: string;
  readonly checksums: ChecksumStore;
  readonly usage: Usage;
  /** The areas as requests see them: stubs cannot be read. */
  guard(areas: Areas): Areas;
  /** Follows, in their transaction, changes that requests have made. */
  follow(tx: AnyTx, entries: readonly Entry[]): Promise<void>;
  /** Of files in one area, with their plain paths. */
  localities(
    area: Area,
    files: readonly (FileFacts & { path: string })[],
    connection?: Sql | AnyTx,
  ): Promise<Locality[]>;
}

/**
 * Nothing, when the configuration has no `tape`.
 *
 * @throws when an area has tape and the instance has not, or has it no more while content of its files is on tape alone.
 */
export async function openTapeSystem(
  context: ComponentContext<StorageConfig>,
  checksums: ChecksumStore,
  usage: Usage,
): Promise<TapeSystem | undefined> {
  const { config, database, wakeUps, dataFolder } = context;
  const files = createTapeFiles(database, config.site);
  const withTape = config.areas.find((area) => area.tape);
  if (withTape && !config.tape)
    throw new Error(
      `storage: area ${withTape.name} has tape, so the instance ${config.site} needs a tape section.`,
    );
  await requireStubsGuarded(files, config);
  if (!config.tape) return undefined;
  const { library: configured, mount_seconds, bytes_per_second, failure_rate } = config.tape;
  // A folder of its own for each instance, which tidies up in it.
  const folder = join(configured ?? join(dataFolder, 'tape'), encodeURIComponent(config.site));
  const library = await openTapeLibrary({
    folder,
    mountSeconds: mount_seconds,
    bytesPerSecond: bytes_per_second,
    failureRate: failure_rate,
  });
  const work = createTapeWork(wakeUps, config.site);
  const byDepth = config.areas
    .map((area) => ({ area, base: baseOf(area) }))
    .toSorted((one, other) => other.base.length - one.base.length);
  const areaAt = (path: Segments): AreaConfig | undefined =>
    byDepth.find(({ base }) => isWithin(base, path))?.area;

  /** One change after the other, as they happened. */
  async function followChange(
    tx: AnyTx,
    { account = '' }: Entry,
    change: NonNullable<Entry['changes']>[number],
  ) {
    const area = areaAt(change.path);
    if (!area?.tape) return;
    const name = account === '' ? area.name : `${area.name}@${account}`;
    const path = plainPath(change.path);
    switch (change.type) {
      case 'file.closed': {
        const { inode, size, modifiedNs } = change.facts;
        const file = { area: name, account, path, inode, size, modifiedNs };
        // An empty file has nothing to archive: its locality is NONE.
        await work.erase(tx, size === 0 ? await files.remove(tx, name, path) : await files.add(tx, [file]));
        if (size === 0) return;
        const at = new Date(Date.now() + area.tape.archive_after_seconds * 1000);
        return work.archive(tx, [{ area: name, account, inode, at }]);
      }
      case 'file.deleted':
        return work.erase(tx, await files.remove(tx, name, path));
      case 'file.moved':
        await work.erase(tx, await files.remove(tx, name, path));
        return files.rename(tx, name, plainPath(change.from), path);
      default:
    }
  }

  return {
    config: config.tape,
    instance: config.site,
    files,
    requests: createStageRequests(database, config.site),
    work,
    library,
    folder,
    checksums,
    usage,
    guard: (areas) =>
      arrangeAreas(
        areas.all.map((area) =>
          area.config.tape
            ? { ...area, files: guardFiles(area, { database, instance: config.site, tapeFiles: files }) }
            : area,
        ),
      ),
    async follow(tx, entries) {
      for (const entry of entries)
        for (const change of entry.changes ?? []) await followChange(tx, entry, change);
    },
    async localities(area, asked, connection) {
      const states = area.config.tape ? await files.find(area.name, asked, connection) : [];
      return Promise.all(
        asked.map(async ({ size }, index): Promise<Locality> => {
          const state = states[index];
          if (size === 0) return 'NONE';
          if (state?.copy === undefined) return 'DISK';
          if (state.onDisk) return 'DISK_AND_TAPE';
          return (await library.has(state.copy)) ? 'TAPE' : 'LOST';
        }),
      );
    },
  };
}

/** Without the tape system a stub would be served as a file full of zeros. */
async function requireStubsGuarded(files: TapeFiles, { areas, site }: StorageConfig): Promise<void> {
  const stubs = await files.areasWithStubs();
  const bare = areas.find(({ name, tape }) => !tape && stubs.includes(name));
  if (bare)
    throw new Error(
      `storage: files of area ${bare.name} of ${site} are on tape alone. Mend: give the area its tape section back.`,
    );
}
