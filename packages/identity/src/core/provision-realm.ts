import { readFileSync } from 'node:fs';
import type { Secret } from '@weft/kernel/config';
import type { Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { ClientConfig, RealmConfig, UserConfig } from '../config.ts';
import type { Allowance, IdentityTables, PublicJwk } from '../db/schema.ts';
import { endSessions } from './end-sessions.ts';
import { hashSecret } from './hashes.ts';
import { hashPassword } from './passwords.ts';

/**
 * Makes users and clients of a realm what the configuration says. Those that an earlier configuration made and this one
 * no longer names are removed; those that people registered stay.
 */
export async function provisionRealm(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  realm: string,
  config: RealmConfig,
  otherAudiences: readonly string[],
): Promise<void> {
  await provisionUsers(tx, wakeUps, realm, config);
  await provisionClients(tx, realm, config, otherAudiences);
}

const OF_PEOPLE = ['identity.refresh_tokens', 'identity.authorization_codes', 'identity.device_codes'];

async function provisionUsers(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  realm: string,
  { users }: RealmConfig,
): Promise<void> {
  const removed = await tx
    .deleteFrom('identity.users')
    .where('realm', '=', realm)
    .where('configured', '=', true)
    .where(sql<boolean>`not subject = any(${users.map(({ subject }) => subject)})`)
    .returning('subject')
    .execute();
  // Nothing of them is left but the audit, for its time.
  await endSessions(
    tx,
    wakeUps,
    sql`realm = ${realm} and subject = any(${removed.map(({ subject }) => subject)}::text[])`,
  );
  for (const table of OF_PEOPLE)
    await sql`delete from ${sql.table(table)} where realm = ${realm}
      and subject = any(${removed.map(({ subject }) => subject)}::text[])`.execute(tx);
  if (users.length === 0) return;
  const hashes = await passwordHashes(users);
  await tx
    .insertInto('identity.users')
    .values(
      users.map((user) => ({
        realm,
        subject: user.subject,
        username: user.username,
        name: user.name ?? null,
        email: user.email ?? null,
        groups: user.groups,
        optional_groups: user.optional_groups,
        entitlements: user.entitlements,
        assurance: user.assurance,
        affiliations: user.affiliations,
        voperson_id: user.voperson_id ?? null,
        scopes: user.scopes,
        suspended_at: null,
        configured: true,
        password_hash: hashes.get(user.subject) ?? null,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['realm', 'subject']).doUpdateSet((column) => ({
        username: column.ref('excluded.username'),
        name: column.ref('excluded.name'),
        email: column.ref('excluded.email'),
        groups: column.ref('excluded.groups'),
        optional_groups: column.ref('excluded.optional_groups'),
        entitlements: column.ref('excluded.entitlements'),
        assurance: column.ref('excluded.assurance'),
        affiliations: column.ref('excluded.affiliations'),
        voperson_id: column.ref('excluded.voperson_id'),
        scopes: column.ref('excluded.scopes'),
        password_hash: column.ref('excluded.password_hash'),
        configured: column.ref('excluded.configured'),
      })),
    )
    .execute();
}

/** By subject, for users that have a password. */
async function passwordHashes(users: readonly UserConfig[]): Promise<Map<string, string>> {
  const hashed = await Promise.all(
    users.map(async ({ subject, password, password_file: file }): Promise<[string, string][]> => {
      const given =
        password?.reveal() ?? (file === undefined ? undefined : readFileSync(file, 'utf8').trim());
      return given === undefined ? [] : [[subject, await hashPassword(given)]];
    }),
  );
  return new Map(hashed.flat());
}

async function provisionClients(
  tx: Tx<IdentityTables>,
  realm: string,
  config: RealmConfig,
  otherAudiences: readonly string[],
): Promise<void> {
  const { clients } = config;
  await tx
    .deleteFrom('identity.clients')
    .where('realm', '=', realm)
    .where('configured', '=', true)
    .where(sql<boolean>`not id = any(${clients.map(({ id }) => id)})`)
    .execute();
  if (clients.length === 0) return;
  const everyAudience = [
    ...new Set([...clients.flatMap(({ resources }) => resources), ...otherAudiences, config.url]),
  ];
  await tx
    .insertInto('identity.clients')
    .values(
      clients.map((client) => ({
        realm,
        id: client.id,
        name: client.name ?? client.id,
        secret_hash: secretHashOf(client.secret, client.secret_file),
        public_jwk: JSON.stringify(publicJwkOf(client)),
        grants: client.grants,
        resources: client.resources,
        redirect_uris: client.redirect_uris,
        post_logout_redirect_uris: client.post_logout_redirect_uris,
        backchannel_logout_uri: client.backchannel_logout_uri ?? null,
        allow: JSON.stringify(allowancesOf(client, everyAudience)),
        exchange: JSON.stringify(client.exchange),
        configured: true,
        suspended_at: null,
        pkce_required: client.pkce === 'required',
        registration_token_hash: null,
        registration: JSON.stringify(null),
        last_used_at: null,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['realm', 'id']).doUpdateSet((column) => ({
        name: column.ref('excluded.name'),
        secret_hash: column.ref('excluded.secret_hash'),
        public_jwk: column.ref('excluded.public_jwk'),
        grants: column.ref('excluded.grants'),
        resources: column.ref('excluded.resources'),
        redirect_uris: column.ref('excluded.redirect_uris'),
        post_logout_redirect_uris: column.ref('excluded.post_logout_redirect_uris'),
        backchannel_logout_uri: column.ref('excluded.backchannel_logout_uri'),
        allow: column.ref('excluded.allow'),
        exchange: column.ref('excluded.exchange'),
        pkce_required: column.ref('excluded.pkce_required'),
        configured: column.ref('excluded.configured'),
      })),
    )
    .execute();
}

/** The hash of a secret that stands in the configuration or, alone, in a file. */
export function secretHashOf(secret: Secret | undefined, file: string | undefined): Buffer | null {
  if (secret !== undefined) return hashSecret(secret.reveal());
  if (file !== undefined) return hashSecret(readFileSync(file, 'utf8').trim());
  return null;
}

/** A client with a key and no allowance of its own is the development command line: every audience that is known here. */
function allowancesOf(client: ClientConfig, everyAudience: readonly string[]): Allowance[] {
  const unrestricted =
    client.allow.length === 0 && client.grants.includes('urn:ietf:params:oauth:grant-type:jwt-bearer');
  return unrestricted ? [{ audiences: [...everyAudience], scopes: ['*'] }] : client.allow;
}

function publicJwkOf({ jwk, jwk_file: file }: ClientConfig): PublicJwk | null {
  const given: unknown = jwk ?? (file === undefined ? undefined : JSON.parse(readFileSync(file, 'utf8')));
  if (given === undefined) return null;
  const { kty, crv, x, y, n, e } = given as PublicJwk;
  return JSON.parse(JSON.stringify({ kty, crv, x, y, n, e }));
}
