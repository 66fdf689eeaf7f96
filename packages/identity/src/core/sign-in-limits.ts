import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import type { Attempt, AttemptLimit, Attempts } from './attempts.ts';
import { networkOf } from './network-of.ts';

const WINDOW_SECONDS = 5 * 60;
const PER_ACCOUNT_AND_NETWORK = 10;
const PER_NETWORK = 50;
/** From everywhere together: somebody guesses from many places. */
const PER_ACCOUNT = 100;

/**
 * Slows down the guessing of passwords without letting anybody lock out somebody else: an account is closed to the network
 * that guesses; and when many networks do, to all but those from which its owner has signed in before.
 */
export interface SignInLimits {
  /**
   * Before a password is looked at: counts the attempt, so that a thousand guesses at once are no more than one after the
   * other. Answers the seconds to wait; 0: go on.
   */
  begin(username: string, address: string): Promise<number>;
  /** The password was right: the attempt counts no more. */
  succeeded(username: string, address: string): Promise<void>;
}

export function createSignInLimits(
  database: Sql<IdentityTables>,
  attempts: Attempts,
  realm: string,
): SignInLimits {
  const limit = (what: string, allowed: number): AttemptLimit => ({
    ...{ name: `${realm} ${what}`, allowed, windowSeconds: WINDOW_SECONDS },
  });
  const perAccountAndNetwork = limit('password-here', PER_ACCOUNT_AND_NETWORK);
  const perNetwork = limit('password-network', PER_NETWORK);
  const perAccount = limit('password', PER_ACCOUNT);

  const hereOf = (username: string, address: string): Attempt[] => {
    const network = networkOf(address);
    return [
      [perAccountAndNetwork, `${network} ${username}`],
      [perNetwork, network],
    ];
  };

  return {
    async begin(username, address) {
      const here = hereOf(username, address);
      // Whoever has to wait makes the wait no longer by trying.
      const wait = await attempts.askWaitSeconds(...here);
      if (wait > 0) return wait;
      const everywhere = await attempts.askWaitSeconds([perAccount, username]);
      if (everywhere > 0 && !(await hasSignedIn(database, realm, username, address))) return everywhere;
      const late = await attempts.count(...here);
      if (late > 0) return late;
      const lateEverywhere = await attempts.count([perAccount, username]);
      return everywhere > 0 ? 0 : lateEverywhere;
    },
    succeeded: (username, address) => attempts.forgive(...hereOf(username, address), [perAccount, username]),
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
