import type { Principal } from '@weft/kernel/auth';
import type { IdentityTables } from '../db/schema.ts';
import type { Realm } from './realm.ts';

/** Clocks of verifiers may be behind by this much, so a revocation is kept so much longer. */
const KEPT_BEYOND_EXPIRY = 120_000;

export async function revokeAccessToken(realm: Realm, principal: Principal): Promise<void> {
  if (principal.jti === undefined) return;
  await realm.database
    .withTables<IdentityTables>()
    .insertInto('identity.revoked_tokens')
    .values({
      realm: realm.name,
      jti: principal.jti,
      expires_at: new Date(principal.expiresAt.getTime() + KEPT_BEYOND_EXPIRY),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function isRevoked(realm: Realm, principal: Principal): Promise<boolean> {
  if (principal.jti === undefined) return false;
  const row = await realm.database
    .withTables<IdentityTables>()
    .selectFrom('identity.revoked_tokens')
    .select('jti')
    .where('realm', '=', realm.name)
    .where('jti', '=', principal.jti)
    .executeTakeFirst();
  return row !== undefined;
}
