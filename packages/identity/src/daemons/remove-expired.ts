import type { DaemonDefinition } from '@weft/kernel/component';
import type { Database } from '@weft/kernel/database';
import { startLoop } from '@weft/kernel/work';
import { sql } from 'kysely';
import type { IdentityConfig } from '../config.ts';
import { removeTombstones } from '../core/linking/remove-tombstones.ts';
import { realmConfigs } from '../core/realm.ts';
import { removeUnusedClients } from '../core/registered-clients.ts';
import { removeOldAudit } from '../core/remove-old-audit.ts';

const BATCH = 5000;

/** Tables whose rows mean nothing after `expires_at`. */
const EXPIRING = [
  'identity.refresh_tokens',
  'identity.used_assertions',
  'identity.revoked_tokens',
  'identity.sessions',
  'identity.authorization_codes',
  'identity.device_codes',
  'identity.linking_sessions',
  'identity.linking_transactions',
  'identity.link_changes',
  'identity.attempts',
];

/** Deletes expired rows, a bounded batch at a time. */
export const removeExpired: DaemonDefinition<IdentityConfig> = {
  name: 'remove-expired',
  start: ({ config, database, wakeUps, log }) =>
    startLoop(
      { database, wakeUps, log, name: 'identity.remove-expired', everySeconds: 600, leaderOnly: true },
      async () => {
        const removed = await Promise.all([
          ...EXPIRING.map((table) => removeBatch(database, table)),
          removeTombstones(database, BATCH),
          removeOldAudit(database, config.audit_days, BATCH),
          removeUnusedClients(database, realmConfigs(config), BATCH),
        ]);
        return removed.some((rows) => rows === BATCH) ? 'more' : 'idle';
      },
    ),
};

async function removeBatch(database: Database, table: string): Promise<number> {
  const { numAffectedRows } = await sql`delete from ${sql.table(table)} where ctid = any(array(
    select ctid from ${sql.table(table)} where expires_at < now() - interval '1 hour' limit ${BATCH}))`.execute(
    database.sql,
  );
  return Number(numAffectedRows ?? 0n);
}
