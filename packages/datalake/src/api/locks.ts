import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { findDids, getDid } from '../core/catalogue/dids.ts';
import { printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { type DatasetLock, listDatasetLocks, listDatasetLocksOfRse } from '../core/rules/dataset-locks.ts';
import { lines } from './answers.ts';
import { didListSchema, parseBody } from './bodies.ts';
import { route } from './router.ts';

const record = (lock: DatasetLock) => ({
  ...lock,
  rse_id: printId(lock.rse_id),
  rule_id: printId(lock.rule_id),
  accessed_at: printDate(lock.accessed_at),
});

function requireDatasets(query: URLSearchParams): void {
  if (query.get('did_type') !== 'dataset') {
    throw new WeftError('invalid', 'InvalidObject', 'Locks are listed with did_type=dataset.');
  }
}

/** Brief rucio-daemons 2.3. */
export const lockRoutes = [
  route('GET', '/locks/:scope/:name', async ({ lake, path, query }) => {
    requireDatasets(query);
    const did = await getDid(lake.database.sql, { scope: path('scope'), name: path('name') });
    return lines((await listDatasetLocks(lake.database.sql, [did.id])).map(record));
  }),

  route('GET', '/locks/:rse', async ({ lake, path, query }) => {
    requireDatasets(query);
    const rse = (await loadTopology(lake.database.sql)).byName(path('rse'));
    return lines((await listDatasetLocksOfRse(lake.database.sql, rse.id)).map(record));
  }),

  route('POST', '/locks/bulk_locks_for_dids', async (call) => {
    const { dids } = parseBody(call, z.object({ dids: didListSchema }));
    const { sql } = call.lake.database;
    const found = await findDids(sql, dids);
    return lines(
      (
        await listDatasetLocks(
          sql,
          found.map(({ id }) => id),
        )
      ).map(record),
    );
  }),
];
