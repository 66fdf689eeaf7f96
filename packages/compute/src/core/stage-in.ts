import { createReadStream } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import { createStorageClient } from '@weft/storage/client';
import { sql } from 'kysely';
import type { ComputeTables } from '../db/schema.ts';
import { isErrno } from '../shim/process-identity.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { Adler32 } from './adler32.ts';
import { createDatalake, type Datalake, type ReplicaLine, webUrl } from './datalake.ts';
import { delegatedToken } from './delegation.ts';
import { notePods } from './move-pods.ts';
import type { Pod } from './pods.ts';
import { makeFolders, placePod } from './prepare-job.ts';
import { parseStageIn, STAGE_IN } from './staging-annotations.ts';

const PARALLEL_FILES = 8;
/** Files that one token names: few enough for any server's limit on headers. */
const FILES_PER_TOKEN = 16;
const PROGRESS_MILLISECONDS = 500;

interface WantedFile {
  readonly replica: ReplicaLine;
  readonly folder: string;
}

/**
 * Brings the files that a pod's annotation names to its folder: each from the nearest storage that has it, with a token
 * that reads just these paths, verified by size and adler32. What is there already, from before a crash, stays.
 *
 * @throws {WeftError} of the kinds that trying again may mend (`upstream`, `unavailable`), or of those that it cannot.
 */
export async function stageIn(
  context: ComputeContext,
  site: Site,
  pod: Pod,
  signal: AbortSignal,
): Promise<void> {
  const local = placePod(site, pod);
  await makeFolders(site, local);
  const datalake = createDatalake({
    url: context.config.datalake?.url ?? '',
    fetch: context.fetch,
    token: () =>
      delegatedToken(context, pod, {
        for: 'datalake',
        audience: context.config.datalake?.url ?? '',
        scopes: ['openid', 'profile'],
      }),
  });

  const wanted: WantedFile[] = [];
  for (const did of parseStageIn(local.manifest.metadata.annotations[STAGE_IN])) {
    const replicas = await datalake.listReplicas(did);
    if (replicas.length === 0) {
      throw new WeftError('not-found', 'no-data', `The datalake has no files of ${did.scope}:${did.name}.`);
    }
    wanted.push(
      ...replicas.map((replica) => ({
        replica,
        folder: local.mounts.staging.get(did.folder) ?? local.folder,
      })),
    );
  }
  await rememberFiles(context, pod, wanted);
  const nearest = await rankRses(datalake, site, wanted);
  const progress = createProgress(context, pod, wanted.length);
  const fetchers = new Map<string, Promise<string>>();
  const batches = Array.from({ length: Math.ceil(wanted.length / FILES_PER_TOKEN) }, (_, index) =>
    wanted.slice(index * FILES_PER_TOKEN, (index + 1) * FILES_PER_TOKEN),
  );

  /** One token a storage and batch of files. */
  function tokenFor(batch: number, origin: string): Promise<string> {
    const key = `${batch} ${origin}`;
    let token = fetchers.get(key);
    if (token === undefined) {
      const paths = (batches[batch] ?? []).flatMap(({ replica }) =>
        Object.keys(replica.pfns)
          .map(webUrl)
          .filter((url) => url.origin === origin)
          .map((url) => decodeURIComponent(url.pathname)),
      );
      token = delegatedToken(context, pod, {
        for: 'storages',
        audience: origin,
        scopes: paths.map((path) => `storage.read:${path}`),
      });
      fetchers.set(key, token);
    }
    return token;
  }

  async function bring({ replica, folder }: WantedFile, index: number): Promise<void> {
    const file = join(folder, replica.name);
    if (!(await isComplete(file, replica))) {
      const failures: string[] = [];
      for (const pfn of sources(replica, nearest)) {
        const url = webUrl(pfn);
        const token = () => tokenFor(Math.floor(index / FILES_PER_TOKEN), url.origin);
        try {
          await download({ context, url, token, replica, file, signal });
          break;
        } catch (error) {
          signal.throwIfAborted();
          failures.push(`${url.origin}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
      if (failures.length === Object.keys(replica.pfns).length) {
        const why = failures.length === 0 ? 'no storage has it' : failures.join('; ');
        throw new WeftError(
          'upstream',
          'not-staged',
          `${replica.scope}:${replica.name} could not be brought: ${why}.`,
        );
      }
    }
    await progress.done(replica);
  }

  const queue = wanted.entries();
  await Promise.all(
    Array.from({ length: PARALLEL_FILES }, async () => {
      for (const [index, file] of queue) {
        signal.throwIfAborted();
        await bring(file, index);
      }
    }),
  );
  await progress.flush();
}

/** Nearest first: the site's own RSE, then by distance, then as the datalake ranks them. */
function sources(replica: ReplicaLine, nearest: ReadonlyMap<string, number>): string[] {
  return Object.entries(replica.pfns)
    .sort(
      ([, one], [, other]) =>
        (nearest.get(one.rse) ?? Number.POSITIVE_INFINITY) -
          (nearest.get(other.rse) ?? Number.POSITIVE_INFINITY) || one.priority - other.priority,
    )
    .map(([pfn]) => pfn);
}

/** Distance of every RSE that has something we want; RSEs at an unknown distance come after all others. */
async function rankRses(
  datalake: Datalake,
  site: Site,
  wanted: readonly WantedFile[],
): Promise<Map<string, number>> {
  const here = site.config.storage?.rse;
  const rses = new Set(wanted.flatMap(({ replica }) => Object.values(replica.pfns).map(({ rse }) => rse)));
  const ranks = new Map<string, number>();
  if (here === undefined) return ranks;
  // With one candidate, or with everything at home, there is nothing to rank.
  const needed = wanted.some(({ replica }) => !Object.values(replica.pfns).some(({ rse }) => rse === here));
  for (const rse of rses) {
    if (rse === here) ranks.set(rse, -1);
    else if (needed && rses.size > 1)
      ranks.set(rse, (await datalake.distance(rse, here)) ?? Number.MAX_SAFE_INTEGER);
  }
  return ranks;
}

interface Download {
  readonly context: ComputeContext;
  readonly url: URL;
  readonly token: () => Promise<string>;
  readonly replica: ReplicaLine;
  readonly file: string;
  readonly signal: AbortSignal;
}

/** Writes under another name until every byte is there and right. */
async function download({ context, url, token, replica, file, signal }: Download): Promise<void> {
  const storage = createStorageClient({ url: url.origin, fetch: context.fetch, token });
  const response = await storage.get(decodeURIComponent(url.pathname), { signal });
  const temporary = `${file}.part`;
  const target = await open(temporary, 'w', 0o644);
  const checksum = new Adler32();
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      checksum.update(chunk);
      bytes += chunk.length;
      await target.writeFile(chunk);
    }
  } finally {
    await target.close();
  }
  checkContent(replica, bytes, checksum.digest());
  await rename(temporary, file);
}

async function isComplete(file: string, replica: ReplicaLine): Promise<boolean> {
  try {
    const { size } = await stat(file);
    if (replica.bytes !== null && size !== replica.bytes) return false;
    if (!replica.adler32) return true;
    const checksum = new Adler32();
    for await (const chunk of createReadStream(file)) checksum.update(chunk);
    return checksum.digest() === replica.adler32;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

function checkContent(replica: ReplicaLine, bytes: number, adler32: string): void {
  if (replica.bytes !== null && bytes !== replica.bytes) {
    throw new WeftError('upstream', 'wrong-size', `got ${bytes} bytes instead of ${replica.bytes}`);
  }
  if (replica.adler32 && adler32 !== replica.adler32) {
    throw new WeftError('upstream', 'wrong-checksum', `got adler32 ${adler32} instead of ${replica.adler32}`);
  }
}

/** The list is what the progress counts against, and what provenance later names. */
async function rememberFiles(
  context: ComputeContext,
  pod: Pod,
  wanted: readonly WantedFile[],
): Promise<void> {
  await sql`
    insert into compute.staged_files (site, pod_uid, direction, scope, name, path, bytes, adler32)
    select ${pod.site}, ${pod.uid}, 'in', f.scope, f.name, f.path, f.bytes, f.adler32
    from unnest(
      ${wanted.map(({ replica }) => replica.scope)}::text[], ${wanted.map(({ replica }) => replica.name)}::text[],
      ${wanted.map(({ folder }) => folder)}::text[], ${wanted.map(({ replica }) => replica.bytes ?? 0)}::bigint[],
      ${wanted.map(({ replica }) => replica.adler32 ?? null)}::text[]
    ) as f (scope, name, path, bytes, adler32)
    on conflict do nothing`.execute(context.database.sql);
}

/** Notes what has come, a few times a second at most. */
function createProgress(context: ComputeContext, pod: Pod, total: number) {
  let arrived: ReplicaLine[] = [];
  let count = 0;
  let notedAt = Date.now();

  async function flush(): Promise<void> {
    const files = arrived;
    arrived = [];
    notedAt = Date.now();
    await context.database.transaction<void, ComputeTables>(async (tx) => {
      await sql`
        update compute.staged_files s set staged_at = now()
        from unnest(${files.map(({ scope }) => scope)}::text[], ${files.map(({ name }) => name)}::text[]) as f (scope, name)
        where s.site = ${pod.site} and s.pod_uid = ${pod.uid} and s.direction = 'in'
          and s.scope = f.scope and s.name = f.name and s.staged_at is null`.execute(tx);
      const message = `${count}/${total} files`;
      await notePods(tx, context.wakeUps, pod.site, [
        { uid: pod.uid, state: 'staging-in', reason: 'StagingIn', message },
      ]);
    });
  }

  return {
    flush,
    async done(file: ReplicaLine) {
      arrived.push(file);
      count++;
      if (Date.now() - notedAt > PROGRESS_MILLISECONDS) await flush();
    },
  };
}
