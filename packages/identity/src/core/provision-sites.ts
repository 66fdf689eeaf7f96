import type { Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { AliseConfig, SiteConfig } from '../config.ts';
import type { IdentityTables } from '../db/schema.ts';
import { issuerHashes } from './issuer-hashes.ts';
import { importLinks } from './linking/import-links.ts';
import { type ChangedLink, describeTouchedLinks, recordLinkChanges } from './linking/link-changes.ts';
import { secretHashOf } from './provision-realm.ts';

/** One federated identity of one local account, as the configuration links them. */
interface ConfiguredLink {
  site: string;
  username: string;
  kind: 'internal' | 'external';
  issuer: string;
  subject: string;
  display_name: string | null;
}

/**
 * Makes sites, providers, accounts, API keys and the administrator's links what the configuration says, a handful of
 * statements in all. Links that people made stay, unless the administrator gives the same identity to another account.
 * Links that the configuration no longer names become tombstones.
 */
export async function provisionSites(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  { sites, url }: AliseConfig,
): Promise<void> {
  const links = sites.flatMap((site) => linksOf(site, url));
  await provisionIssuers(tx, sites, links);
  await provisionProviders(tx, sites);
  await provisionAccounts(tx, sites);
  await provisionApiKeys(tx, sites);
  await provisionIdentities(tx, links);
  const changed = [...(await upsertLinks(tx, links)), ...(await unlinkOthers(tx, links))];
  await recordLinkChanges(tx, wakeUps, 'configuration', changed);
  for (const site of sites) await importLinks(tx, wakeUps, site);
}

/** An account without an identity at the site's own provider is known there by its user name. */
function linksOf(site: SiteConfig, aliseUrl: string): ConfiguredLink[] {
  return site.links.flatMap((link) => {
    const common = { site: site.name, username: link.username, display_name: link.display_name ?? null };
    const internal = link.internal ?? {
      issuer: site.internal[0]?.issuer ?? aliseUrl,
      subject: link.username,
    };
    return [
      { ...common, kind: 'internal' as const, ...internal },
      ...link.external.map((external) => ({ ...common, kind: 'external' as const, ...external })),
    ];
  });
}

async function provisionIssuers(
  tx: Tx<IdentityTables>,
  sites: readonly SiteConfig[],
  links: readonly ConfiguredLink[],
) {
  const urls = new Set([
    ...links.map(({ issuer }) => issuer),
    ...sites.flatMap(({ internal, external }) => [...internal, ...external].map(({ issuer }) => issuer)),
  ]);
  const issuers = JSON.stringify([...urls].map((url) => ({ url, hashes: issuerHashes(url) })));
  await sql`insert into identity.issuers (url, hashes)
    select url, array(select jsonb_array_elements_text(hashes))
      from jsonb_to_recordset(${issuers}::jsonb) as given(url text, hashes jsonb)
    on conflict (url) do nothing`.execute(tx);
}

async function provisionProviders(tx: Tx<IdentityTables>, sites: readonly SiteConfig[]) {
  await sql`insert into identity.sites (name) select unnest(${sites.map(({ name }) => name)}::text[])
    on conflict do nothing`.execute(tx);
  const providers = sites.flatMap(({ name: site, internal, external }) => [
    ...internal.map((provider) => ({ site, kind: 'internal', ...provider })),
    ...external.map((provider) => ({ site, kind: 'external', ...provider })),
  ]);
  await sql`delete from identity.site_issuers`.execute(tx);
  await sql`insert into identity.site_issuers (site, kind, name, issuer_id)
    select given.site, given.kind, given.name, issuers.id
      from jsonb_to_recordset(${JSON.stringify(providers)}::jsonb)
        as given(site text, kind text, name text, issuer text)
      join identity.issuers on issuers.url = given.issuer`.execute(tx);
}

async function provisionAccounts(tx: Tx<IdentityTables>, sites: readonly SiteConfig[]) {
  const accounts = sites.flatMap(({ name: site, links }) =>
    links.map(({ username, uid, gid, groups, display_name }) => ({
      site,
      username,
      uid,
      gid,
      groups,
      display_name,
    })),
  );
  await sql`insert into identity.local_accounts (site, username, uid, gid, groups, display_name)
    select site, username, uid, gid, array(select jsonb_array_elements_text(groups)), display_name
      from jsonb_to_recordset(${JSON.stringify(accounts)}::jsonb)
        as given(site text, username text, uid int, gid int, groups jsonb, display_name text)
    on conflict (site, username) do update
      set uid = excluded.uid, gid = excluded.gid, groups = excluded.groups, display_name = excluded.display_name`.execute(
    tx,
  );
}

async function provisionApiKeys(tx: Tx<IdentityTables>, sites: readonly SiteConfig[]) {
  const keys = sites.flatMap(({ name: site, api_keys }) =>
    api_keys.map(({ name, secret, secret_file, scopes, allowed_addresses }) => ({
      site,
      name,
      scopes,
      allowed_addresses,
      hash: secretHashOf(secret, secret_file)?.toString('hex'),
    })),
  );
  await sql`with given as (
      select site, name, decode(hash, 'hex') as hash, array(select jsonb_array_elements_text(scopes)) as scopes,
             array(select jsonb_array_elements_text(allowed_addresses)::cidr) as addresses
        from jsonb_to_recordset(${JSON.stringify(keys)}::jsonb)
          as keys(site text, name text, hash text, scopes jsonb, allowed_addresses jsonb)
       where hash is not null
    ), kept as (
      insert into identity.api_keys (site, name, hash, scopes, allowed_addresses, configured)
      select site, name, hash, scopes, addresses, true from given
      on conflict (site, name) do update
        set hash = excluded.hash, scopes = excluded.scopes, allowed_addresses = excluded.allowed_addresses,
            configured = true, revoked_at = null
    )
    update identity.api_keys set revoked_at = now()
     where configured and revoked_at is null
       and not exists (select from given where given.site = api_keys.site and given.name = api_keys.name)`.execute(
    tx,
  );
}

async function provisionIdentities(tx: Tx<IdentityTables>, links: readonly ConfiguredLink[]) {
  await sql`insert into identity.identities (issuer_id, subject, display_name)
    select distinct on (issuers.id, given.subject) issuers.id, given.subject, given.display_name
      from jsonb_to_recordset(${JSON.stringify(links)}::jsonb)
        as given(issuer text, subject text, display_name text)
      join identity.issuers on issuers.url = given.issuer
    on conflict (issuer_id, subject) do nothing`.execute(tx);
}

/** The configured links joined with the rows that they are about. */
const resolvedLinks = (links: readonly ConfiguredLink[]) => sql`
  select given.site, given.kind, accounts.id as account_id, identities.id as identity_id
    from jsonb_to_recordset(${JSON.stringify(links)}::jsonb)
      as given(site text, username text, kind text, issuer text, subject text)
    join identity.local_accounts accounts on accounts.site = given.site and accounts.username = given.username
    join identity.issuers on issuers.url = given.issuer
    join identity.identities on identities.issuer_id = issuers.id and identities.subject = given.subject`;

async function upsertLinks(tx: Tx<IdentityTables>, links: readonly ConfiguredLink[]): Promise<ChangedLink[]> {
  const { rows } = await sql<ChangedLink>`with touched as (
      insert into identity.links (site, kind, account_id, identity_id, configured)
      select site, kind, account_id, identity_id, true from (${resolvedLinks(links)}) wanted
      on conflict (site, identity_id) do update
        set account_id = excluded.account_id, kind = excluded.kind, configured = true, unlinked_at = null,
            -- What the security contact has suspended stays so.
            state = case when links.state = 'suspended' then 'suspended' else 'active' end
        where links.state = 'unlinked'
           or (links.account_id, links.kind, links.configured) is distinct from (excluded.account_id, excluded.kind, true)
      returning id, site, account_id, identity_id, state
    ) ${describeTouchedLinks}`.execute(tx);
  return rows;
}

async function unlinkOthers(
  tx: Tx<IdentityTables>,
  links: readonly ConfiguredLink[],
): Promise<ChangedLink[]> {
  const { rows } = await sql<ChangedLink>`with touched as (
      update identity.links set state = 'unlinked', unlinked_at = now()
       where configured and state <> 'unlinked'
         and (site, identity_id) not in (select site, identity_id from (${resolvedLinks(links)}) wanted)
      returning id, site, account_id, identity_id, state
    ) ${describeTouchedLinks}`.execute(tx);
  return rows;
}
