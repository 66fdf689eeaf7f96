import type { Sql, Tx, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';
import type { RequestOrigin } from '../audit.ts';
import { type FederatedIdentity, FROM_LINKS, LINK, type Link } from '../find-links.ts';
import { changeLink } from './link-identity.ts';

/** A link of the account of somebody who asks about herself. */
export interface OwnLink extends Link {
  readonly site: string;
  readonly accountId: string;
  /** Whether she may remove it: any, when she signed in at the site's own provider; else the one she signed in with. */
  readonly removable: boolean;
}

/** Every link of every local account that this identity is, over all sites. */
export async function findOwnLinks(
  database: Sql<IdentityTables>,
  { issuer, subject }: FederatedIdentity,
): Promise<OwnLink[]> {
  const { rows } = await sql<OwnLink>`
    with mine as (
      select link.account_id, link.id, link.kind
        from identity.links link
        join identity.local_accounts account on account.id = link.account_id and account.state = 'active'
        join identity.identities person on person.id = link.identity_id and person.subject = ${subject}
        join identity.issuers on issuers.id = person.issuer_id and issuers.url = ${issuer}
       where link.state = 'active' and (link.expires_at is null or link.expires_at > now())
    )
    select ${LINK}, link.site, link.account_id::text as "accountId",
           link.kind = 'external' and link.state = 'active' and (mine.kind = 'internal' or mine.id = link.id) as removable
      from mine join (${FROM_LINKS}) on link.account_id = mine.account_id
     order by link.site, link.kind = 'external', link.created_at, person.subject`.execute(database);
  return rows;
}

/**
 * Removes a link of one's own.
 * @throws {WeftError} `not-found`, code `no-such-link`; `forbidden`, code `not-removable`
 */
export async function removeOwnLink(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  who: FederatedIdentity,
  linkId: string,
  origin: RequestOrigin,
): Promise<void> {
  const link = (await findOwnLinks(tx, who)).find(({ id, state }) => id === linkId && state !== 'unlinked');
  if (link === undefined) throw new WeftError('not-found', 'no-such-link', `You have no link ${linkId}.`);
  if (!link.removable) {
    throw new WeftError(
      'forbidden',
      'not-removable',
      'This link cannot be removed with the identity that you signed in with.',
    );
  }
  await changeLink(tx, wakeUps, link.username, { ...link, linkId }, 'unlink', origin);
}
