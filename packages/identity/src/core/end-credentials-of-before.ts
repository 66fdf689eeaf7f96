import { outlivesEverything, revoke } from '@weft/kernel/auth';
import { lastRestore, type Tx, type WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { RealmConfig } from '../config.ts';
import type { IdentityTables } from '../db/schema.ts';
import { endSessions } from './end-sessions.ts';

/**
 * After a restore, ends what was given out before it, because what was revoked since the backup cannot be known (brief
 * alise-aai 7.2 T48): access tokens, sessions, and the refresh tokens of people's clients. Those that services got by
 * exchange stay, so that running work comes to its end. Changes nothing when it runs again.
 */
export async function endCredentialsOfBefore(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  realms: readonly [name: string, config: RealmConfig][],
): Promise<void> {
  const restoredAt = await lastRestore(tx);
  if (restoredAt === undefined) return;
  const expiresAt = outlivesEverything(restoredAt);
  const value = String(Math.floor(restoredAt.getTime() / 1000));
  if (expiresAt > new Date()) {
    const epochs = realms.map(([, { url }]) => ({ issuer: url, kind: 'epoch' as const, value, expiresAt }));
    await revoke(tx, wakeUps, epochs);
  }
  await endSessions(tx, wakeUps, sql`auth_time < ${restoredAt}`);
  await tx.deleteFrom('identity.linking_sessions').where('auth_time', '<', restoredAt).execute();
  await tx
    .updateTable('identity.refresh_tokens')
    .set({ revoked_at: restoredAt })
    .where('created_at', '<', restoredAt)
    .where('revoked_at', 'is', null)
    .where(sql<boolean>`actors = '{}'`)
    .execute();
}
