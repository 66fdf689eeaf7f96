import type { Tx, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { IdentityTables, PersonClaims } from '../../db/schema.ts';
import { type RequestOrigin, recordAudit } from '../audit.ts';
import { issuerHashes } from '../issuer-hashes.ts';
import { type ChangedLink, describeTouchedLinks, recordLinkChanges } from './link-changes.ts';

const UNIX_NAME = /^[a-z_][a-z0-9_.-]{0,63}$/;

export interface SeenIdentity {
  readonly issuer: string;
  readonly subject: string;
  readonly displayName: string | undefined;
  readonly claims: PersonClaims;
}

/** The row of a federated identity, made or brought up to date. */
async function upsertIdentity(tx: Tx<IdentityTables>, seen: SeenIdentity): Promise<string> {
  await sql`insert into identity.issuers (url, hashes) values (${seen.issuer}, ${issuerHashes(seen.issuer)}::text[])
    on conflict (url) do nothing`.execute(tx);
  const { rows } = await sql<{ id: string }>`
    insert into identity.identities (issuer_id, subject, display_name, claims)
    select id, ${seen.subject}, ${seen.displayName ?? null}, ${JSON.stringify(seen.claims)}::jsonb
      from identity.issuers where url = ${seen.issuer}
    on conflict (issuer_id, subject) do update
      set last_seen = now(), display_name = coalesce(excluded.display_name, identities.display_name),
          claims = excluded.claims
    returning id::text as id`.execute(tx);
  const [row] = rows;
  if (row === undefined) throw new Error('an identity was neither made nor found');
  return row.id;
}

/**
 * The local account of a person whom the site's own provider has signed in. The key is `(issuer, subject)`: a name that
 * somebody else had before opens nothing (brief alise-aai 7.2 T38).
 *
 * @throws {WeftError} `forbidden`
 */
export async function accountOf(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  site: string,
  seen: SeenIdentity,
  username: string | undefined,
  origin: RequestOrigin,
): Promise<{ accountId: string; username: string }> {
  const identityId = await upsertIdentity(tx, seen);
  const { rows: known } = await sql<{ accountId: string; username: string; usable: boolean }>`
    select account.id::text as "accountId", account.username,
           link.kind = 'internal' and link.state = 'active' and account.state = 'active' as usable
      from identity.links link join identity.local_accounts account on account.id = link.account_id
     where link.site = ${site} and link.identity_id = ${identityId} and link.state <> 'unlinked'`.execute(tx);
  if (known[0] !== undefined) {
    if (!known[0].usable) throw refused('account-suspended', 'This account is suspended at the site.');
    await recordSignIn(tx, site, seen, known[0].username, origin);
    return known[0];
  }
  if (username === undefined || !UNIX_NAME.test(username))
    throw refused('no-account', 'The site’s provider does not say which account is yours.');
  const { rows: accounts } = await sql<{ id: string; state: string }>`
    insert into identity.local_accounts (site, username, display_name)
    values (${site}, ${username}, ${seen.displayName ?? null})
    on conflict (site, username) do update set display_name = coalesce(local_accounts.display_name, excluded.display_name)
    returning id::text as id, state`.execute(tx);
  const [account] = accounts;
  // A statement of its own: it sees what another sign-in has committed for which the one before has waited.
  if (account === undefined || (await belongsToAnother(tx, account.id, username)))
    throw refused(
      'account-taken',
      `The account ${username} belongs to another identity. Ask the site's administrator.`,
    );
  if (account.state !== 'active')
    throw refused('account-suspended', 'This account is suspended at the site.');
  await insertLink(tx, wakeUps, {
    site,
    accountId: account.id,
    identityId,
    kind: 'internal',
    username,
    origin,
  });
  await recordSignIn(tx, site, seen, username, origin);
  return { accountId: account.id, username };
}

async function belongsToAnother(
  tx: Tx<IdentityTables>,
  accountId: string,
  username: string,
): Promise<boolean> {
  const { rows } = await sql`
    select from identity.links link join identity.identities person on person.id = link.identity_id
     where link.account_id = ${accountId}::bigint and link.kind = 'internal' and link.state <> 'unlinked'
       -- Configured by its user name alone: nobody has signed in for it yet.
       and not (link.configured and person.subject = ${username})`.execute(tx);
  return rows.length > 0;
}

function recordSignIn(
  tx: Tx<IdentityTables>,
  site: string,
  { subject, issuer }: SeenIdentity,
  username: string,
  origin: RequestOrigin,
): Promise<void> {
  return recordAudit(tx, {
    ...{ realm: null, site, actor: username, action: 'sign-in', object: `${subject} at ${issuer}` },
    ...{ decision: 'granted', origin },
  });
}

/**
 * Links an external identity to the account. One owner per identity and site: never moved silently.
 *
 * @throws {WeftError} `conflict`, code `linked-elsewhere`, `link-suspended` or `too-many-links`
 */
export async function linkIdentity(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  account: { site: string; accountId: string; username: string },
  seen: SeenIdentity,
  rules: { linkDays: number | undefined; maximum: number },
  origin: RequestOrigin,
): Promise<void> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from identity.links
     where account_id = ${account.accountId} and kind = 'external' and state <> 'unlinked'`.execute(tx);
  if ((rows[0]?.count ?? 0) >= rules.maximum)
    throw new WeftError('conflict', 'too-many-links', 'This account has too many links. Remove one first.');
  const identityId = await upsertIdentity(tx, seen);
  await insertLink(tx, wakeUps, {
    ...{ ...account, identityId, kind: 'external' },
    ...{ linkDays: rules.linkDays, origin },
  });
}

async function insertLink(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  link: {
    site: string;
    accountId: string;
    identityId: string;
    kind: 'internal' | 'external';
    username: string;
    linkDays?: number | undefined;
    origin: RequestOrigin;
  },
): Promise<void> {
  const { rows } = await sql<ChangedLink>`with touched as (
      insert into identity.links (site, account_id, identity_id, kind, configured, expires_at)
      values (${link.site}, ${link.accountId}, ${link.identityId}, ${link.kind}, false,
              now() + make_interval(days => ${link.linkDays ?? null}::int))
      on conflict (site, identity_id) do update
        set account_id = excluded.account_id, kind = excluded.kind, state = 'active', configured = links.configured
              and links.state = 'active', created_at = now(), expires_at = excluded.expires_at, expiry_told = false,
              unlinked_at = null
        where links.state = 'unlinked'
           or (links.state = 'active' and links.account_id = excluded.account_id and links.kind = excluded.kind)
      returning id, site, account_id, identity_id, state
    ) ${describeTouchedLinks}`.execute(tx);
  if (rows.length === 0) {
    throw new WeftError(
      'conflict',
      'linked-elsewhere',
      'This identity is linked to another account of the site, or suspended there. Unlink it there first, or ask the site’s administrator.',
    );
  }
  await recordLinkChanges(tx, wakeUps, link.username, rows, { origin: link.origin });
}

/** Which links a change is about: one of an account, one of a site, or all of an account. */
export type LinkChoice =
  | { site: string; accountId: string; linkId: string }
  | { site: string; linkId: string };

/**
 * Removes, suspends or resumes a link; gives what has changed. People cannot remove what is suspended: they would link it
 * anew.
 */
export async function changeLink(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  actor: string,
  choice: LinkChoice,
  change: 'unlink' | 'suspend' | 'resume',
  origin: RequestOrigin,
): Promise<readonly ChangedLink[]> {
  const { to, from } = CHANGES[change];
  const account = 'accountId' in choice ? choice.accountId : null;
  const { rows } = await sql<ChangedLink>`with touched as (
      update identity.links set state = ${to}, unlinked_at = case when ${to} = 'unlinked' then now() end
       where id = ${choice.linkId}::uuid and site = ${choice.site} and state = ${from}
         and (${account}::bigint is null or (account_id = ${account}::bigint and kind = 'external'))
      returning id, site, account_id, identity_id, state
    ) ${describeTouchedLinks}`.execute(tx);
  await recordLinkChanges(tx, wakeUps, actor, rows, { action: `link.${change}`, origin });
  return rows;
}

const CHANGES = {
  unlink: { from: 'active', to: 'unlinked' },
  suspend: { from: 'active', to: 'suspended' },
  resume: { from: 'suspended', to: 'active' },
} as const;

function refused(code: string, message: string): WeftError {
  return new WeftError('forbidden', code, message);
}
