import type { SecretBox } from '@weft/kernel/config';
import type { Database, Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { addSigningKey, tellKeysChanged } from './signing-keys.ts';

/**
 * Ages of the states of a key (brief alise-aai 3.3):
 *
 *     published --2 days--> active --6 months--> retired --longest token + 1 day--> removed
 *
 * The next key is published two days before the active one retires, so that every verifier has it by then.
 */
const KEY_AGES = {
  publishedBeforeUse: '2 days',
  signs: '180 days',
  keptAfterRetirement: '30 hours',
} as const;

export interface RotateOptions {
  database: Database;
  secrets: SecretBox;
  wakeUps: WakeUps;
}

/** Makes the first key of a realm, at once active. Safe in several processes. */
export async function ensureSigningKey(
  { database, secrets, wakeUps }: RotateOptions,
  realm: string,
): Promise<void> {
  await database.transaction<void, IdentityTables>(async (tx) => {
    await lockRealm(tx, realm);
    const present = await tx
      .selectFrom('identity.signing_keys')
      .select('id')
      .where('realm', '=', realm)
      .where('state', '=', 'active')
      .executeTakeFirst();
    if (present !== undefined) return;
    await addSigningKey(tx, secrets, realm, 'active');
    tellKeysChanged(tx, wakeUps);
  });
}

/** Moves the keys of a realm along their ages. Answers whether anything changed. */
export async function rotateKeys(
  { database, secrets, wakeUps }: RotateOptions,
  realm: string,
): Promise<boolean> {
  return database.transaction<boolean, IdentityTables>(async (tx) => {
    await lockRealm(tx, realm);
    const removed = await tx
      .deleteFrom('identity.signing_keys')
      .where('realm', '=', realm)
      .where('state', '=', 'retired')
      .where('retired_at', '<', sql<Date>`now() - ${KEY_AGES.keptAfterRetirement}::interval`)
      .executeTakeFirst();
    const promoted = await promoteIfDue(tx, realm);
    const published = await publishIfDue(tx, secrets, realm);
    const changed = removed.numDeletedRows > 0n || promoted || published;
    if (changed) tellKeysChanged(tx, wakeUps);
    return changed;
  });
}

/** Retires the active key and lets the published one sign; false when none is published. */
export async function promotePublishedKey(tx: Tx<IdentityTables>, realm: string): Promise<boolean> {
  const next = await tx
    .selectFrom('identity.signing_keys')
    .select('id')
    .where('realm', '=', realm)
    .where('state', '=', 'published')
    .orderBy('created_at')
    .executeTakeFirst();
  if (next === undefined) return false;
  await tx
    .updateTable('identity.signing_keys')
    .set({ state: 'retired', retired_at: sql<Date>`now()` })
    .where('realm', '=', realm)
    .where('state', '=', 'active')
    .execute();
  await tx
    .updateTable('identity.signing_keys')
    .set({ state: 'active', activated_at: sql<Date>`now()` })
    .where('id', '=', next.id)
    .execute();
  return true;
}

async function promoteIfDue(tx: Tx<IdentityTables>, realm: string): Promise<boolean> {
  const due = await tx
    .selectFrom('identity.signing_keys as active')
    .innerJoin('identity.signing_keys as next', 'next.realm', 'active.realm')
    .select('next.id')
    .where('active.realm', '=', realm)
    .where('active.state', '=', 'active')
    .where('active.activated_at', '<', sql<Date>`now() - ${KEY_AGES.signs}::interval`)
    .where('next.state', '=', 'published')
    .where('next.created_at', '<', sql<Date>`now() - ${KEY_AGES.publishedBeforeUse}::interval`)
    .executeTakeFirst();
  return due === undefined ? false : promotePublishedKey(tx, realm);
}

async function publishIfDue(tx: Tx<IdentityTables>, secrets: SecretBox, realm: string): Promise<boolean> {
  const rows = await tx
    .selectFrom('identity.signing_keys')
    .select([
      'state',
      sql<boolean>`activated_at < now() - ${KEY_AGES.signs}::interval + ${KEY_AGES.publishedBeforeUse}::interval`.as(
        'ageing',
      ),
    ])
    .where('realm', '=', realm)
    .where('state', 'in', ['active', 'published'])
    .execute();
  if (rows.some(({ state }) => state === 'published') || !rows.some(({ ageing }) => ageing)) return false;
  await addSigningKey(tx, secrets, realm, 'published');
  return true;
}

/** One process at a time, per realm. */
export async function lockRealm(tx: Tx<IdentityTables>, realm: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext(${`identity.signing-keys ${realm}`}))`.execute(tx);
}
