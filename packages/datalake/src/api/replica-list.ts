import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { getDid } from '../core/catalogue/dids.ts';
import { didText, printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { listDatasetReplicas } from '../core/replicas/dataset-replicas.ts';
import {
  type FileReplicas,
  listReplicas,
  type ReplicaListing,
  type ReplicaQuery,
} from '../core/replicas/list-replicas.ts';
import { type Answer, lines, text } from './answers.ts';
import { didListSchema, lenientBoolean, parseBody } from './bodies.ts';
import { METALINK_TYPE, printMetalink } from './metalink.ts';
import { type Call, type IssuedCall, route } from './router.ts';

const flag = lenientBoolean.nullish();
const locationSchema = z.object({ site: z.string().nullish() });
const listSchema = z.object({
  dids: didListSchema,
  // The command line sends one scheme as a plain string.
  schemes: z.union([z.array(z.string()), z.string().transform((scheme) => [scheme])]).nullish(),
  sort: z.string().nullish(),
  unavailable: flag,
  ignore_availability: flag,
  all_states: flag,
  rse_expression: z.string().nullish(),
  domain: z.enum(['wan', 'lan', 'all']).nullish(),
  client_location: locationSchema.nullish(),
  resolve_parents: flag,
  updated_after: z.string().nullish(),
  nrandom: z.int().positive().nullish(),
});

const SORTS = ['geoip', 'custom_table', 'random'] as const;

function sortOf(query: URLSearchParams, wanted: string | null | undefined): ReplicaQuery['sort'] {
  const name = query.get('sort') ?? query.get('select') ?? wanted ?? 'geoip';
  const sort = SORTS.find((known) => known === name);
  if (sort) return sort;
  throw new WeftError(
    'invalid',
    'SortingAlgorithmNotSupported',
    `Replica sorting algorithm '${name}' is not supported: ${SORTS.join(', ')}.`,
  );
}

function dateOf(value: string | null | undefined): Date | null {
  if (!value) return null;
  const date = new Date(/UTC$|Z$/.test(value) ? value.replace(/ UTC$/, ' GMT') : `${value}Z`);
  if (Number.isNaN(date.getTime()))
    throw new WeftError('invalid', 'InputValidationError', 'updated_after is no date.');
  return date;
}

const wantsMetalink = ({ request }: Call): boolean => (request.headers.accept ?? '').includes('metalink');

/** JSON lines, or a metalink when it is asked for. Unknown DIDs give no line, and stand in a header of ours. */
function printListing(call: Call, listing: ReplicaListing): Answer {
  const unknown = listing.unknown.map(didText).slice(0, 20).join(',');
  const headers: Record<string, string> =
    unknown === '' ? {} : { 'x-weft-unknown-dids': unknown.replace(/[^\x20-\x7e]/g, '?') };
  if (wantsMetalink(call)) return text(METALINK_TYPE, printMetalink(listing.files), headers);
  return lines(replicaLines(listing.files), headers);
}

async function* replicaLines(files: AsyncIterable<FileReplicas>): AsyncIterable<unknown> {
  for await (const file of files) yield replicaLine(file);
}

function replicaLine({
  scope,
  name,
  bytes,
  md5,
  adler32,
  pfns,
  states,
  parents,
}: FileReplicas): Record<string, unknown> {
  const rses = Object.fromEntries(states.map(({ rse }): [string, string[]] => [rse.rse, []]));
  for (const { url, rse } of pfns) rses[rse.rse]?.push(url);
  return {
    scope,
    name,
    bytes,
    md5,
    adler32,
    pfns: Object.fromEntries(
      pfns.map(({ url, rse, domain, rank }) => [
        url,
        {
          rse_id: printId(rse.id),
          rse: rse.rse,
          type: rse.rse_type,
          volatile: rse.volatile,
          domain,
          priority: rank,
          client_extract: false,
        },
      ]),
    ),
    rses,
    states: Object.fromEntries(states.map(({ rse, state }) => [rse.rse, state])),
    ...(parents.length === 0 ? {} : { parents }),
  };
}

const didOf = ({ path }: IssuedCall) => ({ scope: path('scope'), name: path('name') });

/** Brief rucio-api 2.4, reading. */
export const replicaListRoutes = [
  route('POST', '/replicas/list', async (call) => {
    const body = parseBody(call, listSchema);
    const limit = call.query.get('limit');
    const listing = await listReplicas(call.lake.database, {
      dids: body.dids,
      schemes: body.schemes?.length ? body.schemes : null,
      rseExpression: body.rse_expression || null,
      allStates: body.all_states ?? false,
      ignoreAvailability: body.ignore_availability ?? body.unavailable ?? false,
      domain: body.domain ?? null,
      site: body.client_location?.site ?? null,
      resolveParents: body.resolve_parents ?? false,
      sort: sortOf(call.query, body.sort),
      updatedAfter: dateOf(body.updated_after),
      randomFiles: body.nrandom ?? null,
    });
    return printListing(
      call,
      limit === null ? listing : { ...listing, files: limitPfns(listing.files, Number(limit)) },
    );
  }),

  route('GET', '/replicas/:scope/:name', async (call) => {
    const { query } = call;
    const did = await getDid(call.lake.database.sql, didOf(call));
    const listing = await listReplicas(call.lake.database, {
      dids: [did],
      schemes: query.get('schemes')?.split(',') ?? null,
      rseExpression: query.get('rse_expression') ?? query.get('rse'),
      allStates: false,
      ignoreAvailability: false,
      domain: null,
      site: query.get('site'),
      resolveParents: false,
      sort: sortOf(query, null),
      updatedAfter: null,
      randomFiles: null,
    });
    return printListing(call, listing);
  }),

  route('GET', '/replicas/:scope/:name/datasets', async (call) => {
    const { sql } = call.lake.database;
    const rows = await listDatasetReplicas(sql, [(await getDid(sql, didOf(call))).id]);
    return lines(rows.map(datasetLine));
  }),

  route('POST', '/replicas/datasets_bulk', async (call) => {
    const { dids } = parseBody(call, z.object({ dids: didListSchema }));
    const { sql } = call.lake.database;
    const found = await Promise.all(dids.map((did) => getDid(sql, did)));
    return lines(
      (
        await listDatasetReplicas(
          sql,
          found.map(({ id }) => id),
        )
      ).map(datasetLine),
    );
  }),
];

function datasetLine(row: Awaited<ReturnType<typeof listDatasetReplicas>>[number]): Record<string, unknown> {
  return {
    ...row,
    rse_id: printId(row.rse_id),
    created_at: printDate(row.created_at),
    updated_at: printDate(row.updated_at),
    accessed_at: printDate(row.accessed_at),
  };
}

/** `?limit=`: at most so many PFNs of each file. */
async function* limitPfns(files: AsyncIterable<FileReplicas>, limit: number): AsyncIterable<FileReplicas> {
  if (!Number.isInteger(limit) || limit < 0)
    throw new WeftError('invalid', 'ValueError', "'limit' must be a number.");
  for await (const file of files) yield { ...file, pfns: file.pfns.slice(0, limit) };
}
