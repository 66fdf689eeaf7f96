import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { createFailureLimit } from './failure-limit.ts';
import { networkOf } from './network-of.ts';

const WINDOW = 5 * 60_000;
const PER_ACCOUNT_AND_NETWORK = 10;
const PER_NETWORK = 50;
/** From everywhere together: somebody guesses from many places. */
const PER_ACCOUNT = 100;

/**
 * Slows down the guessing of passwords without letting anybody lock out somebody else: an account is closed to the network
 * that guesses; and when many networks do, to all but those from which its owner has signed in before.
 */
export interface SignInLimits {
  /** Seconds until somebody at this address may try to sign in under this name; 0: now. */
  waitSeconds(username: string, address: string): Promise<number>;
  failed(username: string, address: string): void;
}

export function createSignInLimits(database: Sql<IdentityTables>, realm: string): SignInLimits {
  const here = createFailureLimit(PER_ACCOUNT_AND_NETWORK, WINDOW);
  const network = createFailureLimit(PER_NETWORK, WINDOW);
  const everywhere = createFailureLimit(PER_ACCOUNT, WINDOW);
  const keyOf = (username: string, address: string) => `${networkOf(address)} ${username}`;

  return {
    async waitSeconds(username, address) {
      const local = Math.max(
        here.waitSeconds(keyOf(username, address)),
        network.waitSeconds(networkOf(address)),
      );
      const wait = everywhere.waitSeconds(username);
      if (local > 0 || wait === 0) return local;
      return (await hasSignedIn(database, realm, username, address)) ? 0 : wait;
    },
    failed(username, address) {
      here.failed(keyOf(username, address));
      network.failed(networkOf(address));
      everywhere.failed(username);
    },
  };
}

/** Within a month, by the audit log. */
async function hasSignedIn(
  database: Sql<IdentityTables>,
  realm: string,
  username: string,
  address: string,
): Promise<boolean> {
  const { rows } = await sql`
    select from identity.audit
     where realm = ${realm} and action = 'sign-in' and decision = 'granted'
       and actor = ${username} and address = ${address} and at > now() - interval '30 days' limit 1`.execute(
    database,
  );
  return rows.length > 0;
}
