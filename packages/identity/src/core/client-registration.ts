import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Sql, Tx } from '@weft/kernel/database';
import { z } from 'zod';
import type { IdentityTables } from '../db/schema.ts';
import { USER_SCOPES } from './granted-scopes.ts';
import { hashSecret, newSecret, secretMatches } from './hashes.ts';
import { oauthError } from './oauth-error.ts';
import type { Realm } from './realm.ts';
import { redirectUriFault } from './redirect-uris.ts';

/** Grants that a client may register for: those in which a person decides. */
const OPEN_GRANTS = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

const metadataSchema = z.object({
  client_name: z.string().max(200).default('A client without a name'),
  redirect_uris: z.array(z.string().max(2000)).max(20).default([]),
  post_logout_redirect_uris: z.array(z.string().max(2000)).max(20).optional(),
  grant_types: z.array(z.string()).max(20).default(['authorization_code']),
  response_types: z.array(z.string()).max(10).default(['code']),
  token_endpoint_auth_method: z
    .enum(['client_secret_basic', 'client_secret_post', 'none'])
    .default('client_secret_basic'),
  application_type: z.enum(['web', 'native']).default('native'),
  scope: z.string().max(4000).optional(),
  contacts: z.array(z.string().max(200)).max(10).optional(),
  client_uri: z.url({ protocol: /^https?$/ }).optional(),
  software_id: z.string().max(200).optional(),
  software_version: z.string().max(200).optional(),
});

type ClientMetadata = z.output<typeof metadataSchema>;

export interface RegisteredClient {
  readonly id: string;
  /** Absent for public clients, and when a registration is only read. */
  readonly secret: string | undefined;
  readonly registrationToken: string | undefined;
  readonly issuedAt: Date;
  readonly metadata: ClientMetadata;
}

/**
 * Registers a client that asks for it (RFC 7591): public or with a secret, for grants in which a person decides, with the
 * scopes that the realm opens to strangers. `web` beside loopback redirects is taken as native: oidc-agent sends that.
 *
 * @throws {WeftError} `access_denied` when the realm does not offer it; `invalid_token` when it wants another initial
 *   access token; `invalid_redirect_uri`, `invalid_client_metadata`
 */
export async function registerClient(
  realm: Realm,
  sql: Sql<IdentityTables>,
  metadata: unknown,
  initialAccessToken: string | undefined,
): Promise<RegisteredClient> {
  requireRegistrationOffered(realm, initialAccessToken);
  const parsed = readMetadata(metadata);
  const id = randomUUID();
  const secret = parsed.token_endpoint_auth_method === 'none' ? undefined : newSecret();
  const registrationToken = newSecret();
  const row = await sql
    .insertInto('identity.clients')
    .values({
      realm: realm.name,
      id,
      secret_hash: secret === undefined ? null : hashSecret(secret),
      public_jwk: JSON.stringify(null),
      resources: [],
      exchange: JSON.stringify([]),
      configured: false,
      suspended_at: null,
      registration_token_hash: hashSecret(registrationToken),
      last_used_at: null,
      ...columnsOf(realm, parsed),
    })
    .returning('created_at')
    .executeTakeFirstOrThrow();
  return { id, secret, registrationToken, issuedAt: row.created_at, metadata: parsed };
}

/**
 * A registration, for whoever holds its token (RFC 7592).
 * @throws {WeftError} `invalid_token`
 */
export async function readRegistration(
  realm: Realm,
  sql: Sql<IdentityTables>,
  id: string,
  token: string | undefined,
): Promise<RegisteredClient> {
  const row = await sql
    .selectFrom('identity.clients')
    .select(['registration_token_hash', 'registration', 'created_at'])
    .where('realm', '=', realm.name)
    .where('id', '=', id)
    .executeTakeFirst();
  const hash = row?.registration_token_hash ?? hashSecret('');
  if (row === undefined || token === undefined || token === '' || !secretMatches(token, hash)) {
    throw oauthError('invalid_token', 'The registration access token is not valid.');
  }
  return {
    id,
    secret: undefined,
    registrationToken: undefined,
    issuedAt: row.created_at,
    metadata: readMetadata(row.registration),
  };
}

export async function updateRegistration(
  realm: Realm,
  sql: Sql<IdentityTables>,
  id: string,
  token: string | undefined,
  metadata: unknown,
): Promise<RegisteredClient> {
  const before = await readRegistration(realm, sql, id, token);
  const parsed = readMetadata(metadata);
  await sql
    .updateTable('identity.clients')
    .set(columnsOf(realm, parsed))
    .where('realm', '=', realm.name)
    .where('id', '=', id)
    .execute();
  return { ...before, metadata: parsed };
}

export async function removeRegistration(
  realm: Realm,
  tx: Tx<IdentityTables>,
  id: string,
  token: string | undefined,
): Promise<void> {
  await readRegistration(realm, tx, id, token);
  await tx.deleteFrom('identity.clients').where('realm', '=', realm.name).where('id', '=', id).execute();
  await tx
    .updateTable('identity.refresh_tokens')
    .set({ revoked_at: new Date() })
    .where('realm', '=', realm.name)
    .where('client_id', '=', id)
    .where('revoked_at', 'is', null)
    .execute();
}

function requireRegistrationOffered(realm: Realm, initialAccessToken: string | undefined): void {
  const { mode, initial_access_token: given, initial_access_token_file: file } = realm.config.registration;
  if (mode === 'off') throw oauthError('access_denied', 'Clients cannot register themselves here.');
  if (mode === 'open') return;
  // Read each time: whoever replaces it need not restart anything.
  const expected = given?.reveal() ?? (file === undefined ? '' : readFileSync(file, 'utf8').trim());
  if (expected === '' || !secretMatches(initialAccessToken ?? '', hashSecret(expected)))
    throw oauthError('invalid_token', 'Registration needs an initial access token (RFC 7591 section 3).');
}

function readMetadata(metadata: unknown): ClientMetadata {
  const result = metadataSchema.safeParse(metadata);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw oauthError(
      'invalid_client_metadata',
      `${issue?.path.join('.') ?? 'The document'}: ${issue?.message ?? 'not valid'}`,
    );
  }
  const { redirect_uris, post_logout_redirect_uris = [] } = result.data;
  for (const redirectUri of [...redirect_uris, ...post_logout_redirect_uris]) {
    const fault = redirectUriFault(redirectUri);
    if (fault !== undefined) throw oauthError('invalid_redirect_uri', `${redirectUri} ${fault}.`);
  }
  return result.data;
}

function columnsOf(realm: Realm, metadata: ClientMetadata) {
  return {
    name: metadata.client_name,
    grants: metadata.grant_types.filter((grant) => OPEN_GRANTS.includes(grant)),
    redirect_uris: metadata.redirect_uris,
    post_logout_redirect_uris: metadata.post_logout_redirect_uris ?? [],
    allow: JSON.stringify([
      { audiences: ['*'], scopes: [...USER_SCOPES, 'wlcg.groups:*', ...realm.config.registration.scopes] },
    ]),
    registration: JSON.stringify(metadata),
  };
}
