import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { ProtocolRow, ReplicaState } from '../../db/schema.ts';
import { findDids } from '../catalogue/dids.ts';
import { filesBelowDids } from '../catalogue/list-files.ts';
import { type DidName, didText } from '../names.ts';
import { pathOfReplica, pfnOf, protocolsFor } from '../rses/pfn.ts';
import { loadTopology, type Rse } from '../rses/topology.ts';

export interface ReplicaQuery {
  dids: readonly DidName[];
  schemes: readonly string[] | null;
  rseExpression: string | null;
  allStates: boolean;
  ignoreAvailability: boolean;
  domain: 'wan' | 'lan' | 'all' | null;
  /** Of the client; RSEs with the same attribute `site` are reached over their LAN protocols. */
  site: string | null;
  resolveParents: boolean;
  sort: 'geoip' | 'custom_table' | 'random';
  updatedAfter: Date | null;
  randomFiles: number | null;
}

export interface Pfn {
  url: string;
  rse: Rse;
  domain: 'wan' | 'lan';
  /** 1 is best, over all PFNs of the file. */
  rank: number;
}

export interface FileReplicas extends DidName {
  bytes: number;
  adler32: string | null;
  md5: string | null;
  pfns: Pfn[];
  /** By RSE, for every replica in the answer. */
  states: { rse: Rse; state: ReplicaState }[];
  parents: string[];
}

export interface ReplicaListing {
  unknown: DidName[];
  files: AsyncIterable<FileReplicas>;
}

interface Line extends DidName {
  bytes: number;
  adler32: string | null;
  md5: string | null;
  replicas: { rse_id: string; path: string | null; state: ReplicaState }[];
  parents: string[] | null;
}

/**
 * Where files are (brief rucio-api 3.6): a line for each file below the DIDs, by scope and name, also when it has no
 * replica. Streams from a cursor.
 */
export async function listReplicas(database: Database, query: ReplicaQuery): Promise<ReplicaListing> {
  const topology = await loadTopology(database.sql);
  const rses = (query.rseExpression === null ? topology.rses : topology.select(query.rseExpression)).filter(
    (rse) => query.ignoreAvailability || rse.availability_read,
  );
  const reach = new Map(rses.map((rse) => [rse.id, { rse, protocols: readProtocols(rse, query) }]));
  const found = await findDids(database.sql, query.dids);
  const known = new Set(found.map(didText));
  const states = query.allStates ? null : ['AVAILABLE'];
  const lines = database.stream<Line>(sql`
    with ${filesBelowDids(found.map(({ id }) => id))}
    select d.scope, d.name, d.bytes, d.adler32, d.md5,
      coalesce((
        select jsonb_agg(jsonb_build_object('rse_id', r.rse_id, 'path', r.path, 'state', r.state))
        from datalake.replicas r
        where r.did_id = d.id and r.rse_id = any(${rses.map(({ id }) => id)}::uuid[])
          and (${states}::text[] is null or r.state = any(${states}::text[]))
          and (${query.updatedAfter}::timestamptz is null or r.updated_at >= ${query.updatedAfter}::timestamptz)), '[]') as replicas,
      case when ${query.resolveParents} then (
        select array_agg(p.scope || ':' || p.name order by p.scope, p.name)
        from datalake.contents c join datalake.dids p on p.id = c.parent_id where c.child_id = d.id) end as parents
    from files f join datalake.dids d on d.id = f.did_id
    order by ${query.randomFiles === null ? sql`d.scope, d.name` : sql`random()`} limit ${query.randomFiles}`);
  return {
    unknown: query.dids.filter((did) => !known.has(didText(did))),
    files: mapLines(lines, reach, query),
  };
}

interface Reach {
  rse: Rse;
  protocols: { protocol: ProtocolRow; domain: 'wan' | 'lan' }[];
}

/**
 * Protocols over which a client reads from an RSE. Without wanted schemes the best of each domain; with them all that
 * match. A domain is `lan` by itself where the RSE's `site` is the client's.
 */
function readProtocols(rse: Rse, query: ReplicaQuery): Reach['protocols'] {
  const near = query.site !== null && rse.attributes.get('site') === query.site;
  const domains: ('lan' | 'wan')[] =
    query.domain === 'all' ? ['lan', 'wan'] : [query.domain ?? (near ? 'lan' : 'wan')];
  return domains.flatMap((domain) => {
    const offered = protocolsFor(rse, `${domain}_read`, query.schemes ?? undefined);
    const chosen = query.schemes === null ? offered.slice(0, 1) : offered;
    return chosen.map((protocol) => ({ protocol, domain }));
  });
}

async function* mapLines(
  lines: AsyncIterable<Line>,
  reach: ReadonlyMap<string, Reach>,
  query: ReplicaQuery,
): AsyncIterable<FileReplicas> {
  for await (const { replicas, parents, ...file } of lines) {
    const known = replicas.flatMap((replica) => {
      const at = reach.get(replica.rse_id);
      return at ? [{ ...replica, ...at }] : [];
    });
    const readable = known.filter(({ state }) => state !== 'BAD');
    const pfns = readable.flatMap(({ rse, path, protocols }) =>
      protocols.map(({ protocol, domain }) => ({
        url: pfnOf(protocol, pathOfReplica(rse, file, path)),
        rse,
        domain,
        priority: protocol[`${domain}_read`] ?? 0,
        chance: query.sort === 'random' ? Math.random() : 0,
      })),
    );
    pfns.sort(
      (a, b) =>
        Number(a.domain === 'wan') - Number(b.domain === 'wan') ||
        a.chance - b.chance ||
        a.priority - b.priority ||
        a.rse.rse.localeCompare(b.rse.rse),
    );
    yield {
      ...file,
      parents: parents ?? [],
      states: known.map(({ rse, state }) => ({ rse, state })),
      pfns: pfns.map(({ url, rse, domain }, index) => ({ url, rse, domain, rank: index + 1 })),
    };
  }
}
