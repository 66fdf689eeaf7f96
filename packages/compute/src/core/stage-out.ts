import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { Readable } from 'node:stream';
import { WeftError } from '@weft/kernel/errors';
import { createStorageClient } from '@weft/storage/client';
import { sql } from 'kysely';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { Adler32 } from './adler32.ts';
import { createDatalake, type KnownFile, type RegisteredFile, webUrl } from './datalake.ts';
import { delegatedToken } from './delegation.ts';
import type { Pod } from './pods.ts';
import { placePod } from './prepare-job.ts';
import { matchesPattern, parseStageOut, STAGE_OUT, type StageOut } from './staging-annotations.ts';

interface Result extends RegisteredFile {
  /** Where the job left it on this machine. */
  readonly file: string;
  /** The same as the job sees it. */
  readonly path: string;
}

/**
 * Carries a pod's results away, in an order in which every step may be repeated after a crash: the files are announced
 * (which refuses a name that already means other content), written, declared complete, and attached to their dataset.
 *
 * @throws {WeftError} of the kinds that trying again may mend (`upstream`, `unavailable`), or of those that it cannot.
 */
export async function stageOut(
  context: ComputeContext,
  site: Site,
  pod: Pod,
  signal: AbortSignal,
): Promise<void> {
  const local = placePod(site, pod);
  const datalakeUrl = context.config.datalake?.url ?? '';
  const datalake = createDatalake({
    url: datalakeUrl,
    fetch: context.fetch,
    token: () =>
      delegatedToken(context, pod, { for: 'datalake', audience: datalakeUrl, scopes: ['openid', 'profile'] }),
  });
  for (const line of parseStageOut(local.manifest.metadata.annotations[STAGE_OUT])) {
    const found = await findResults(local.mounts.staging.get(line.folder) ?? local.folder, line);
    if (found.length === 0) {
      throw new WeftError(
        'not-found',
        'no-results',
        `The job left nothing that fits ${line.folder}/${line.pattern}.`,
      );
    }
    const results = withFreeNames(found, await datalake.describeFiles(found), pod.uid);
    const files = results.map(({ file: _file, path: _path, ...registered }) => registered);
    await rememberFiles(context, pod, line, results);
    await datalake.announceReplicas(line.rse, files);
    const replicas = await datalake.listReplicasAt(line.rse, files);
    const placeOf = new Map(replicas.map(({ name, pfns }) => [name, Object.keys(pfns)[0]]));
    for (const result of results) {
      signal.throwIfAborted();
      const pfn = placeOf.get(result.name);
      if (pfn === undefined) {
        throw new WeftError(
          'upstream',
          'no-place',
          `The datalake does not say where ${result.name} belongs at ${line.rse}.`,
        );
      }
      await store(context, pod, result, webUrl(pfn), signal);
    }
    await datalake.completeReplicas(line.rse, files);
    await datalake.ensureDataset({ scope: line.scope, name: line.dataset });
    await datalake.attach({ scope: line.scope, name: line.dataset }, files);
    await context.database
      .withTables<ComputeTables>()
      .updateTable('compute.staged_files')
      .set({ staged_at: new Date() })
      .where('site', '=', pod.site)
      .where('pod_uid', '=', pod.uid)
      .where('direction', '=', 'out')
      .where('dataset', '=', line.dataset)
      .execute();
  }
}

/** Plain files that fit; links are not followed, they could lead anywhere. */
async function findResults(folder: string, line: StageOut): Promise<Result[]> {
  const names = (await readdir(folder)).filter((name) => matchesPattern(name, line.pattern)).sort();
  const results: Result[] = [];
  for (const name of names) {
    const file = join(folder, name);
    if (!(await lstat(file)).isFile()) continue;
    const checksum = new Adler32();
    let bytes = 0;
    for await (const chunk of createReadStream(file)) {
      checksum.update(chunk);
      bytes += chunk.length;
    }
    results.push({
      scope: line.scope,
      name: registeredName(line.dataset, name),
      bytes,
      adler32: checksum.digest(),
      file,
      path: `${line.folder}/${name}`,
    });
  }
  return results;
}

/** Every run writes a `run.json`: a file carries the name of its dataset, `warning-2010-12.run.json`, unless it does already. */
function registeredName(dataset: string, file: string): string {
  return file.startsWith(`${dataset}.`) ? file : `${dataset}.${file}`;
}

/**
 * A name in the datalake means one content for ever. What this run made exactly as one before it did is the same file; what
 * differs gets the pod into its name, `warning-2010-12.run.f3c12844.json`, which is the same again after a crash.
 */
function withFreeNames(results: readonly Result[], known: readonly KnownFile[], uid: string): Result[] {
  const taken = new Map(known.map((file) => [file.name, file]));
  return results.map((result) => {
    const same = taken.get(result.name);
    if (same === undefined || (same.bytes === result.bytes && same.adler32 === result.adler32)) return result;
    const { dir, name, ext } = parse(result.name);
    return { ...result, name: join(dir, `${name}.${uid.slice(0, 8)}${ext}`) };
  });
}

/** Writes one file, unless the storage has it from an earlier attempt. */
async function store(
  context: ComputeContext,
  pod: Pod,
  result: Result,
  url: URL,
  signal: AbortSignal,
): Promise<void> {
  const path = decodeURIComponent(url.pathname);
  const token = await delegatedToken(context, pod, {
    for: 'storages',
    audience: url.origin,
    scopes: ['read', 'create', 'modify'].map((action) => `storage.${action}:${path}`),
  });
  const storage = createStorageClient({ url: url.origin, fetch: context.fetch, token: async () => token });
  const there = await storage.head(path);
  if (there?.sizeBytes === result.bytes && there.adler32 === result.adler32) return;
  const content: ReadableStream<Uint8Array> = Readable.toWeb(createReadStream(result.file));
  const stored = await storage.put(path, content, {
    sizeBytes: result.bytes,
    adler32: result.adler32,
    signal,
  });
  if (stored.adler32 !== undefined && stored.adler32 !== result.adler32) {
    throw new WeftError(
      'upstream',
      'wrong-checksum',
      `${url.origin} stored ${result.name} with adler32 ${stored.adler32} instead of ${result.adler32}.`,
    );
  }
}

async function rememberFiles(
  context: ComputeContext,
  pod: Pod,
  line: StageOut,
  results: readonly Result[],
): Promise<void> {
  await sql`
    insert into compute.staged_files (site, pod_uid, direction, scope, name, path, bytes, adler32, rse, dataset)
    select ${pod.site}, ${pod.uid}, 'out', ${line.scope}, f.name, f.path, f.bytes, f.adler32,
           ${line.rse}, ${line.dataset}
    from unnest(
      ${results.map(({ name }) => name)}::text[], ${results.map(({ path }) => path)}::text[],
      ${results.map(({ bytes }) => bytes)}::bigint[], ${results.map(({ adler32 }) => adler32)}::text[]
    ) as f (name, path, bytes, adler32)
    on conflict do nothing`.execute(context.database.sql);
}
