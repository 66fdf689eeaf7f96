import type { Generated, JSONColumnType } from 'kysely';

/** Tables of the schema `identity`; the columns are explained in `migrations/`. */
export interface IdentityTables {
  'identity.signing_keys': SigningKeyTable;
  'identity.users': UserTable;
  'identity.clients': ClientTable;
  'identity.refresh_tokens': RefreshTokenTable;
  'identity.used_assertions': UsedAssertionTable;
  'identity.revoked_tokens': RevokedTokenTable;
  'identity.sessions': SessionTable;
  'identity.authorization_codes': AuthorizationCodeTable;
  'identity.device_codes': DeviceCodeTable;
  'identity.audit': AuditTable;
  'identity.linking_sessions': LinkingSessionTable;
  'identity.linking_transactions': LinkingTransactionTable;
}

type SigningKeyState = 'published' | 'active' | 'retired';

export interface PublicJwk {
  kty: string;
  kid?: string;
  alg?: string;
  use?: string;
  crv?: string;
  x?: string;
  y?: string;
  n?: string;
  e?: string;
}

interface SigningKeyTable {
  id: string;
  realm: string;
  algorithm: string;
  public_jwk: JSONColumnType<PublicJwk>;
  sealed_private_jwk: Buffer;
  state: SigningKeyState;
  created_at: Generated<Date>;
  activated_at: Date | null;
  retired_at: Date | null;
}

interface UserTable {
  realm: string;
  subject: string;
  username: string;
  name: string | null;
  email: string | null;
  groups: string[];
  optional_groups: string[];
  entitlements: string[];
  assurance: string[];
  affiliations: string[];
  voperson_id: string | null;
  scopes: string[];
  suspended_at: Date | null;
  configured: boolean;
  password_hash: string | null;
}

/** What a client may get for an audience by itself, or for a user who signs in through it. */
export interface Allowance {
  audiences: string[];
  scopes: string[];
}

/** What a client may get for an audience in exchange for a user's token. */
export interface ExchangeAllowance extends Allowance {
  /** Scopes that it may get although the subject token lacks them. */
  extras: string[];
  /** Whether it may get a refresh token. */
  offline: boolean;
}

interface ClientTable {
  realm: string;
  id: string;
  name: string;
  secret_hash: Buffer | null;
  public_jwk: JSONColumnType<PublicJwk | null>;
  grants: string[];
  resources: string[];
  redirect_uris: string[];
  post_logout_redirect_uris: Generated<string[]>;
  backchannel_logout_uri: Generated<string | null>;
  allow: JSONColumnType<Allowance[]>;
  exchange: JSONColumnType<ExchangeAllowance[]>;
  configured: boolean;
  suspended_at: Date | null;
  created_at: Generated<Date>;
  pkce_required: Generated<boolean>;
  registration_token_hash: Buffer | null;
  registration: JSONColumnType<Record<string, unknown> | null>;
  last_used_at: Date | null;
  owner: Generated<string | null>;
}

interface RefreshTokenTable {
  hash: Buffer;
  realm: string;
  family: string;
  client_id: string;
  subject: string;
  scopes: string[];
  audiences: string[];
  actors: string[];
  auth_time: Date | null;
  created_at: Generated<Date>;
  used_at: Date | null;
  revoked_at: Date | null;
  expires_at: Date;
}

interface UsedAssertionTable {
  realm: string;
  client_id: string;
  jti: string;
  expires_at: Date;
}

interface RevokedTokenTable {
  realm: string;
  jti: string;
  expires_at: Date;
}

interface AuditTable {
  seq: Generated<number>;
  at: Generated<Date>;
  realm: string | null;
  actor: string;
  action: string;
  object: string;
  decision: 'granted' | 'refused';
  reason: string | null;
  request_id: string | null;
  address: string | null;
  site: string | null;
}

interface SessionTable {
  id_hash: Buffer;
  id: Generated<string>;
  browser: string | null;
  address: string | null;
  realm: string;
  subject: string;
  auth_time: Generated<Date>;
  last_seen: Generated<Date>;
  wrong_codes: Generated<number>;
  expires_at: Date;
}

interface AuthorizationCodeTable {
  hash: Buffer;
  session_id: string | null;
  realm: string;
  client_id: string;
  subject: string;
  redirect_uri: string;
  code_challenge: string | null;
  nonce: string | null;
  scopes: string[];
  audiences: string[];
  auth_time: Date;
  family: Generated<string>;
  used_at: Date | null;
  expires_at: Date;
}

type DeviceCodeState = 'created' | 'approved' | 'denied' | 'redeemed';

interface DeviceCodeTable {
  hash: Buffer;
  user_code_hash: Buffer;
  realm: string;
  client_id: string;
  scopes: string[];
  audiences: string[];
  code_challenge: string | null;
  state: Generated<DeviceCodeState>;
  subject: string | null;
  auth_time: Date | null;
  interval_seconds: Generated<number>;
  polled_at: Date | null;
  expires_at: Date;
}

interface LinkingSessionTable {
  id_hash: Buffer;
  site: string;
  account_id: string;
  display_name: string | null;
  auth_time: Date;
  last_seen: Generated<Date>;
  expires_at: Date;
}

/**
 * What a provider says about a person beyond the subject, and services of a site may learn (brief alise-aai 1, "the intended
 * data"). Names are those of OpenID Connect, voPerson, eduPerson and SCHAC.
 */
export interface PersonClaims {
  email?: string;
  voperson_id?: string;
  schac_home_organization?: string;
  eduperson_scoped_affiliation?: string[];
  eduperson_assurance?: string[];
}

interface LinkingTransactionTable {
  state_hash: Buffer;
  browser_hash: Buffer;
  session_hash: Buffer | null;
  site: string;
  kind: 'internal' | 'external';
  provider: string;
  verifier: string;
  nonce: string;
  fresh: boolean;
  subject: string | null;
  display_name: string | null;
  claims: JSONColumnType<PersonClaims>;
  expires_at: Date;
}
