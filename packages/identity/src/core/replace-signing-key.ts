import { outlivesEverything, revoke } from '@weft/kernel/auth';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { type AuditEntry, recordAudit } from './audit.ts';
import { lockRealm, promotePublishedKey, type RotateOptions } from './rotate-keys.ts';
import { addSigningKey, tellKeysChanged } from './signing-keys.ts';

export interface Replacement {
  /** `kid` of the key that signs from now on. */
  readonly active: string;
  /** `kid`s that are out of the JWKS, with every token that they signed; empty unless a key leaked. */
  readonly removed: readonly string[];
}

/**
 * Lets a new key sign at once, outside the turn of `rotateKeys`. The old one stays published, so that nothing fails; if it
 * `leaked`, every older key is removed instead, and what they signed dies at every verifier of the installation within a
 * second (brief alise-aai 3.3, emergency rotation).
 */
export async function replaceSigningKey(
  { database, secrets, wakeUps }: RotateOptions,
  realm: { name: string; issuer: string },
  { leaked, audit }: { leaked: boolean; audit: Pick<AuditEntry, 'actor' | 'origin'> },
): Promise<Replacement> {
  return database.transaction<Replacement, IdentityTables>(async (tx) => {
    await lockRealm(tx, realm.name);
    // A key that is published already may have leaked with the others, as it lay in the same place.
    if (leaked || !(await promotePublishedKey(tx, realm.name))) {
      await tx
        .updateTable('identity.signing_keys')
        .set({ state: 'retired', retired_at: sql<Date>`now()` })
        .where('realm', '=', realm.name)
        .where('state', '!=', 'retired')
        .execute();
      await addSigningKey(tx, secrets, realm.name, 'active');
    }
    const removed = leaked
      ? await tx
          .deleteFrom('identity.signing_keys')
          .where('realm', '=', realm.name)
          .where('state', '=', 'retired')
          .returning('id')
          .execute()
      : [];
    const { id: active } = await tx
      .selectFrom('identity.signing_keys')
      .select('id')
      .where('realm', '=', realm.name)
      .where('state', '=', 'active')
      .executeTakeFirstOrThrow();

    const expiresAt = outlivesEverything();
    await revoke(
      tx,
      wakeUps,
      removed.map(({ id }) => ({ issuer: realm.issuer, kind: 'key', value: id, expiresAt })),
    );
    const action = leaked ? 'key.withdraw' : 'key.rotate';
    await recordAudit(tx, { ...audit, realm: realm.name, action, object: active, decision: 'granted' });
    await emit(tx, wakeUps, 'identity', [
      {
        type: 'key.replaced',
        subject: realm.issuer,
        data: { issuer: realm.issuer, active, removed: removed.map(({ id }) => id) },
      },
    ]);
    tellKeysChanged(tx, wakeUps);
    return { active, removed: removed.map(({ id }) => id) };
  });
}
