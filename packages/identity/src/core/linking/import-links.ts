import type { Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { SiteConfig } from '../../config.ts';
import type { IdentityTables } from '../../db/schema.ts';
import { issuerHashes } from '../issuer-hashes.ts';
import { type ChangedLink, describeTouchedLinks, recordLinkChanges } from './link-changes.ts';
import { readAliseDatabase, readMappingFile } from './read-imports.ts';

/**
 * Takes over the links of the files that a site names. What is linked, suspended or unlinked here already stays as it is,
 * so the files may be read at every start.
 */
export async function importLinks(tx: Tx<IdentityTables>, wakeUps: WakeUps, site: SiteConfig): Promise<void> {
  const { alise_database: database, mapping_file: mapping } = site.import ?? {};
  const links = [
    ...(database === undefined ? [] : readAliseDatabase(database, site)),
    ...(mapping === undefined ? [] : readMappingFile(mapping.file, mapping.issuer)),
  ];
  if (links.length === 0) return;
  const issuers = [...new Set(links.map(({ issuer }) => issuer))];
  const hashed = JSON.stringify(issuers.map((url) => ({ url, hashes: issuerHashes(url) })));
  const given = sql`jsonb_to_recordset(${JSON.stringify(links)}::jsonb)
    as given (username text, kind text, issuer text, subject text, display_name text)`;
  await sql`insert into identity.issuers (url, hashes)
    select url, array(select jsonb_array_elements_text(hashes))
      from jsonb_to_recordset(${hashed}::jsonb) as issuer (url text, hashes jsonb)
    on conflict (url) do nothing`.execute(tx);
  await sql`insert into identity.local_accounts (site, username, display_name)
    select distinct on (username) ${site.name}, username, display_name from ${given}
    on conflict (site, username) do nothing`.execute(tx);
  await sql`insert into identity.identities (issuer_id, subject, display_name)
    select distinct on (issuers.id, given.subject) issuers.id, given.subject, given.display_name
      from ${given} join identity.issuers on issuers.url = given.issuer
    on conflict (issuer_id, subject) do nothing`.execute(tx);
  const { rows } = await sql<ChangedLink>`with touched as (
      insert into identity.links (site, kind, account_id, identity_id, configured)
      select distinct on (identities.id) ${site.name}, given.kind, accounts.id, identities.id, false
        from ${given}
        join identity.local_accounts accounts on accounts.site = ${site.name} and accounts.username = given.username
        join identity.issuers on issuers.url = given.issuer
        join identity.identities on identities.issuer_id = issuers.id and identities.subject = given.subject
      on conflict (site, identity_id) do nothing
      returning id, site, account_id, identity_id, state
    ) ${describeTouchedLinks}`.execute(tx);
  await recordLinkChanges(tx, wakeUps, 'import', rows, { action: 'link.import' });
}
