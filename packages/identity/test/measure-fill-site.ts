import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';

/**
 * People of the site `hpc`, made in four statements: account `user<n>`, subject `subject-<n>` at the site's provider and at
 * the community's.
 */
export async function fillSite(database: Database, users: number): Promise<void> {
  await database.transaction(async (tx) => {
    await sql`insert into identity.local_accounts (site, username, uid, gid, display_name)
      select 'hpc', 'user' || n, 10000 + n, 10000, 'Person ' || n from generate_series(1, ${users}::int) n`.execute(
      tx,
    );
    await sql`insert into identity.identities (issuer_id, subject, display_name)
      select issuers.id, 'subject-' || n, 'Person ' || n
        from generate_series(1, ${users}::int) n, identity.issuers
       where issuers.url in ('https://idp.hpc.bench', 'https://community.bench')`.execute(tx);
    await sql`insert into identity.links (site, account_id, identity_id, kind, configured)
      select 'hpc', accounts.id, identities.id,
             case issuers.url when 'https://idp.hpc.bench' then 'internal' else 'external' end, false
        from identity.local_accounts accounts
        join identity.identities on identities.subject = 'subject-' || substr(accounts.username, 5)
        join identity.issuers on issuers.id = identities.issuer_id
       where accounts.site = 'hpc'`.execute(tx);
  });
  for (const table of ['local_accounts', 'identities', 'links'])
    await sql`vacuum analyze ${sql.table(`identity.${table}`)}`.execute(database.sql);
}
