import { type Principal, revoke } from '@weft/kernel/auth';
import type { IdentityTables } from '../db/schema.ts';
import type { Realm } from './realm.ts';

/** Clocks of verifiers may be behind by this much, so a revocation is kept so much longer. */
const KEPT_BEYOND_EXPIRY = 120_000;

/** Dead at once: here by our own table, at every other verifier of the installation by the kernel's. */
export async function revokeAccessToken(realm: Realm, principal: Principal): Promise<void> {
  const { jti } = principal;
  if (jti === undefined) return;
  const expiresAt = new Date(principal.expiresAt.getTime() + KEPT_BEYOND_EXPIRY);
  await realm.database.transaction<void, IdentityTables>(async (tx) => {
    await tx
      .insertInto('identity.revoked_tokens')
      .values({ realm: realm.name, jti, expires_at: expiresAt })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    await revoke(tx, realm.wakeUps, [{ issuer: realm.issuer, kind: 'token', value: jti, expiresAt }]);
  });
}
