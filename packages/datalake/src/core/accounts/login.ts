import { randomBytes } from 'node:crypto';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { accountOfIdentity, digestOfToken } from './issuer.ts';
import { verifyPassword } from './passwords.ts';

export interface IssuedToken {
  readonly token: string;
  readonly account: string;
  readonly expiresAt: Date;
}

/**
 * User name and password for a token of the shape `<account>-<identity>-<appid>-<32 hex>` (brief rucio-api 2.1, token
 * format). Expired tokens of everybody leave with each login.
 */
export async function loginWithPassword(
  lake: Lake,
  given: { username: string; password: string; account?: string; appId?: string },
): Promise<IssuedToken> {
  const { rows } = await sql<{ password_hash: string | null }>`
    select password_hash from datalake.identities
    where identity = ${given.username} and identity_type = 'USERPASS'`.execute(lake.database.sql);
  // An unknown user costs as much time as a wrong password.
  const right = await verifyPassword(given.password, rows[0]?.password_hash ?? UNKNOWN_USER);
  if (!right) {
    throw new WeftError(
      'unauthenticated',
      'CannotAuthenticate',
      'Cannot authenticate with given username and password.',
    );
  }
  const { account } = await accountOfIdentity(lake, given.username, 'USERPASS', given.account);
  if (given.account !== undefined && given.account !== account) {
    throw new WeftError(
      'unauthenticated',
      'CannotAuthenticate',
      `The identity has no account '${given.account}'.`,
    );
  }
  const token = `${account}-${given.username}-${given.appId ?? 'unknown'}-${randomBytes(16).toString('hex')}`;
  const expiresAt = new Date(Date.now() + lake.config.token_lifetime_seconds * 1000);
  await sql`
    with expired as (delete from datalake.tokens where expires_at < now())
    insert into datalake.tokens (digest, account, identity, identity_type, expires_at)
    values (${digestOfToken(token)}, ${account}, ${given.username}, 'USERPASS', ${expiresAt})`.execute(
    lake.database.sql,
  );
  return { token, account, expiresAt };
}

const UNKNOWN_USER = `argon2id$${Buffer.alloc(16).toString('base64url')}$${Buffer.alloc(32).toString('base64url')}`;
