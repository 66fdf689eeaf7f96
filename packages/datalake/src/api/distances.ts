import { z } from 'zod';
import { requireAdmin } from '../core/accounts/rights.ts';
import { printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { addDistance, deleteDistance, getDistance, updateDistance } from '../core/rses/distances.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { created, done, json } from './answers.ts';
import { lenientBoolean, parseBody, queryBoolean } from './bodies.ts';
import { type IssuedCall, route } from './router.ts';

/** Older clients say `ranking`. */
const distanceSchema = z
  .object({
    distance: z.int().min(0).nullish(),
    ranking: z.int().min(0).nullish(),
    bidirectional: lenientBoolean.nullish(),
  })
  .transform(({ distance, ranking, bidirectional }) => ({
    distance: distance ?? ranking ?? 0,
    bidirectional: bidirectional ?? false,
  }));

const ends = async ({ lake, path }: IssuedCall) => {
  const topology = await loadTopology(lake.database.sql);
  return { source: topology.byName(path('source')), destination: topology.byName(path('destination')) };
};

const PATH = '/rses/:source/distances/:destination';

/** Brief rucio-api 2.5, distances. */
export const distanceRoutes = [
  route('GET', PATH, async (call) => {
    const { source, destination } = await ends(call);
    const row = await getDistance(call.lake.database.sql, source, destination);
    if (!row) return json([]);
    return json([
      {
        src_rse_id: printId(row.src_rse_id),
        dest_rse_id: printId(row.dest_rse_id),
        src_rse: source.rse,
        dest_rse: destination.rse,
        distance: row.distance,
        ranking: row.distance,
        created_at: printDate(row.created_at),
        updated_at: printDate(row.updated_at),
      },
    ]);
  }),

  route('POST', PATH, async (call) => {
    requireAdmin(call.issuer, 'add distances');
    const { distance, bidirectional } = parseBody(call, distanceSchema);
    await addDistance(call.lake.database.sql, { ...(await ends(call)), bidirectional }, distance);
    return created();
  }),

  route('PUT', PATH, async (call) => {
    requireAdmin(call.issuer, 'update distances');
    const { distance, bidirectional } = parseBody(call, distanceSchema);
    await updateDistance(call.lake.database.sql, { ...(await ends(call)), bidirectional }, distance);
    return done();
  }),

  route('DELETE', PATH, async (call) => {
    requireAdmin(call.issuer, 'delete distances');
    const bidirectional = queryBoolean(call.query, 'bidirectional');
    await deleteDistance(call.lake.database.sql, { ...(await ends(call)), bidirectional });
    return done();
  }),
];
