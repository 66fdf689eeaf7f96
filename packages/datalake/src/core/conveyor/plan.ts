import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { RequestRow } from '../../db/schema.ts';
import type { DidName } from '../names.ts';
import { pathOfReplica, pfnOf, protocolsFor } from '../rses/pfn.ts';
import type { Rse, Topology } from '../rses/topology.ts';
import { schemesFit } from './transfer-request.ts';

export interface Route {
  source: Rse;
  sourceUrl: string;
  destUrl: string;
}

export type Plan =
  | { readonly kind: 'route'; readonly route: Route }
  | {
      readonly kind: 'impossible';
      readonly state: 'NO_SOURCES' | 'MISMATCH_SCHEME';
      readonly reason: string;
    };

/** A possible origin of a file. */
export interface Source {
  rse_id: string;
  path: string | null;
  /** Null: no link. */
  distance: number | null;
}

export interface RequestToPlan extends DidName, Pick<RequestRow, 'id' | 'rse_id' | 'failed_sources'> {
  dest_path: string | null;
  source_replica_expression: string | null;
  sources: Source[];
}

/** Requests with the AVAILABLE replicas of their files, in one statement. */
export async function readSources(tx: Tx, requestIds: readonly string[]): Promise<RequestToPlan[]> {
  const { rows } = await sql<RequestToPlan>`
    select q.id, q.rse_id, q.failed_sources, d.scope, d.name, own.path as dest_path, u.source_replica_expression,
      coalesce((
        select jsonb_agg(jsonb_build_object('rse_id', r.rse_id, 'path', r.path, 'distance', x.distance))
        from datalake.replicas r
        left join datalake.distances x on x.src_rse_id = r.rse_id and x.dest_rse_id = q.rse_id
        where r.did_id = q.did_id and r.rse_id <> q.rse_id and r.state = 'AVAILABLE'), '[]') as sources
    from datalake.requests q
    join datalake.dids d on d.id = q.did_id
    left join datalake.replicas own on own.did_id = q.did_id and own.rse_id = q.rse_id
    left join datalake.rules u on u.id = q.rule_id
    where q.id = any(${requestIds}::uuid[])`.execute(tx);
  return rows;
}

/**
 * Chooses where a file comes from (brief rucio-daemons 3.15): readable sources that the rule allows and that a link and a
 * pair of protocols lead from; those that failed least first, then disk before tape, then the nearest.
 */
export function planRequest(topology: Topology, request: RequestToPlan): Plan {
  const destination = topology.byId(request.rse_id);
  if (!destination) return noSources('the destination RSE was deleted');
  if (request.sources.length === 0) return noSources('the file has no AVAILABLE replica');
  const allowed = request.source_replica_expression
    ? new Set(topology.select(request.source_replica_expression).map(({ id }) => id))
    : undefined;
  const readable = request.sources.flatMap((source) => {
    const rse = topology.byId(source.rse_id);
    return rse?.availability_read && (allowed?.has(rse.id) ?? true) ? [{ ...source, rse }] : [];
  });
  if (readable.length === 0) return noSources('no replica is at a readable RSE that the rule may copy from');
  const linked = readable.filter(({ distance }) => distance !== null);
  if (linked.length === 0) {
    const from = readable.map(({ rse }) => rse.rse).join(', ');
    return noSources(`no distance is set from ${from} to ${destination.rse}, so there is no link`);
  }
  const failures = (id: string) => request.failed_sources.filter((failed) => failed === id).length;
  linked.sort(
    (a, b) =>
      failures(a.rse_id) - failures(b.rse_id) ||
      Number(a.rse.rse_type === 'TAPE') - Number(b.rse.rse_type === 'TAPE') ||
      (a.distance ?? 0) - (b.distance ?? 0) ||
      a.rse.rse.localeCompare(b.rse.rse),
  );
  for (const source of linked) {
    const pair = protocolPair(source.rse, destination);
    if (!pair) continue;
    return {
      kind: 'route',
      route: {
        source: source.rse,
        sourceUrl: pfnOf(pair.source, pathOfReplica(source.rse, request, source.path)),
        destUrl: pfnOf(pair.destination, pathOfReplica(destination, request, request.dest_path)),
      },
    };
  }
  return {
    kind: 'impossible',
    state: 'MISMATCH_SCHEME',
    reason: `No pair of protocols for third-party copy to ${destination.rse}.`,
  };
}

function noSources(reason: string): Plan {
  return { kind: 'impossible', state: 'NO_SOURCES', reason: `MissingSourceReplica: ${reason}.` };
}

/** The pair of compatible protocols with the lowest (destination, source) priorities. */
function protocolPair(source: Rse, destination: Rse) {
  for (const to of protocolsFor(destination, 'third_party_copy_write')) {
    for (const from of protocolsFor(source, 'third_party_copy_read')) {
      if (schemesFit(from.scheme, to.scheme)) return { source: from, destination: to };
    }
  }
  return undefined;
}
