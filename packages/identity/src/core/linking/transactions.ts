import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { Selectable } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';
import { hashSecret, newSecret } from '../hashes.ts';
import type { PersonSeen, ProviderKind, Transit } from './site-providers.ts';

/** A way to a provider and back, bound to the browser that began it. */
export type LinkingTransaction = Selectable<IdentityTables['identity.linking_transactions']>;

export async function beginTransaction(
  sql: Sql<IdentityTables>,
  begun: {
    browser: string;
    sessionHash: Buffer | undefined;
    site: string;
    kind: ProviderKind;
    provider: string;
    fresh: boolean;
    seconds: number;
  },
): Promise<Transit> {
  const transit = { state: newSecret(), nonce: newSecret(), verifier: newSecret() };
  await sql
    .insertInto('identity.linking_transactions')
    .values({
      state_hash: hashSecret(transit.state),
      browser_hash: hashSecret(begun.browser),
      session_hash: begun.sessionHash ?? null,
      site: begun.site,
      kind: begun.kind,
      provider: begun.provider,
      verifier: transit.verifier,
      nonce: transit.nonce,
      fresh: begun.fresh,
      subject: null,
      display_name: null,
      claims: JSON.stringify({}),
      expires_at: new Date(Date.now() + begun.seconds * 1000),
    })
    .execute();
  return transit;
}

/**
 * Takes the transaction that a callback belongs to; nobody can take it a second time.
 * @throws {WeftError} `forbidden`, code `stale-sign-in`
 */
export async function takeTransaction(
  sql: Sql<IdentityTables>,
  state: string,
  browser: string,
): Promise<LinkingTransaction> {
  const taken = await sql
    .deleteFrom('identity.linking_transactions')
    .where('state_hash', '=', hashSecret(state))
    .where('browser_hash', '=', hashSecret(browser))
    .where('subject', 'is', null)
    .where('expires_at', '>', new Date())
    .returningAll()
    .executeTakeFirst();
  if (taken === undefined) {
    throw new WeftError(
      'forbidden',
      'stale-sign-in',
      'This sign-in was not begun in this browser, or it took too long. Begin again.',
    );
  }
  return taken;
}

/** Keeps who came back until the person confirms; gives what the confirmation form carries. */
export async function awaitConfirmation(
  sql: Sql<IdentityTables>,
  transaction: LinkingTransaction,
  person: PersonSeen,
): Promise<string> {
  const ticket = newSecret();
  await sql
    .insertInto('identity.linking_transactions')
    .values({
      ...transaction,
      state_hash: hashSecret(ticket),
      subject: person.subject,
      display_name: person.displayName ?? null,
      claims: JSON.stringify(person.claims),
    })
    .execute();
  return ticket;
}

/** What waits for the confirmation of this session; taken, if `take` is set. */
export async function findConfirmation(
  sql: Sql<IdentityTables>,
  ticket: string,
  sessionHash: Buffer,
  take: boolean,
): Promise<(LinkingTransaction & { subject: string }) | undefined> {
  const waiting = sql
    .selectFrom('identity.linking_transactions')
    .where('state_hash', '=', hashSecret(ticket))
    .where('session_hash', '=', sessionHash)
    .where('subject', 'is not', null)
    .where('expires_at', '>', new Date());
  const found = take
    ? await sql
        .deleteFrom('identity.linking_transactions')
        .where('state_hash', '=', hashSecret(ticket))
        .where('session_hash', '=', sessionHash)
        .where('subject', 'is not', null)
        .where('expires_at', '>', new Date())
        .returningAll()
        .executeTakeFirst()
    : await waiting.selectAll().executeTakeFirst();
  return found?.subject == null ? undefined : { ...found, subject: found.subject };
}
