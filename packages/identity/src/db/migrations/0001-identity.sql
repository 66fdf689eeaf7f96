create schema identity;

-- The provider. Several issuers can live in one database; `realm` tells them apart.

create table identity.signing_keys (
  id text primary key,                      -- RFC 7638 thumbprint, the `kid`
  realm text not null,
  algorithm text not null,
  public_jwk jsonb not null,
  sealed_private_jwk bytea not null,        -- SecretBox, context `signing-key <id>`
  state text not null check (state in ('published', 'active', 'retired')),
  created_at timestamptz not null default now(),
  activated_at timestamptz,
  retired_at timestamptz
);
create unique index signing_keys_one_active on identity.signing_keys (realm, algorithm) where state = 'active';

create table identity.users (
  realm text not null,
  subject text not null,                    -- `sub`: never reassigned
  username text not null,
  name text,
  email text,
  groups text[] not null default '{}',      -- default groups, in order
  optional_groups text[] not null default '{}',
  entitlements text[] not null default '{}',
  scopes text[] not null default '{}',      -- beyond those that every user may ask for
  suspended_at timestamptz,
  configured boolean not null,
  primary key (realm, subject),
  unique (realm, username)
);

create table identity.clients (
  realm text not null,
  id text not null,
  name text not null,
  secret_hash bytea,                        -- SHA-256; null: public, or key only
  public_jwk jsonb,
  grants text[] not null,
  resources text[] not null default '{}',   -- audiences that this client itself answers to
  redirect_uris text[] not null default '{}',
  allow jsonb not null default '[]',        -- [{ audiences, scopes }]
  exchange jsonb not null default '[]',     -- [{ audiences, scopes, extras, offline }]
  configured boolean not null,
  suspended_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (realm, id)
);

create table identity.refresh_tokens (
  hash bytea primary key,                   -- SHA-256 of the token
  realm text not null,
  family uuid not null,
  client_id text not null,
  subject text not null,
  scopes text[] not null,
  audiences text[] not null,
  actors text[] not null default '{}',      -- outermost first
  auth_time timestamptz,
  created_at timestamptz not null default now(),
  used_at timestamptz,                      -- rotated away; good for a grace period after this
  revoked_at timestamptz,
  expires_at timestamptz not null
);
create index refresh_tokens_family on identity.refresh_tokens (family);
create index refresh_tokens_subject on identity.refresh_tokens (realm, subject);
create index refresh_tokens_expiry on identity.refresh_tokens (expires_at);

create table identity.used_assertions (
  realm text not null,
  client_id text not null,
  jti text not null,
  expires_at timestamptz not null,
  primary key (realm, client_id, jti)
);
create index used_assertions_expiry on identity.used_assertions (expires_at);

create table identity.revoked_tokens (
  realm text not null,
  jti text not null,
  expires_at timestamptz not null,
  primary key (realm, jti)
);
create index revoked_tokens_expiry on identity.revoked_tokens (expires_at);

-- Account linking: which local account a federated identity is, per site.

create table identity.issuers (
  id int generated always as identity primary key,
  url text not null unique,
  hashes text[] not null                    -- SHA-1 and SHA-256, hexadecimal, of the spellings that clients use
);

create table identity.sites (
  name text primary key
);

create table identity.site_issuers (
  site text not null references identity.sites on delete cascade,
  kind text not null check (kind in ('internal', 'external')),
  name text not null,
  issuer_id int not null references identity.issuers,
  primary key (site, kind, name)
);

create table identity.local_accounts (
  id bigint generated always as identity primary key,
  site text not null references identity.sites on delete cascade,
  username text not null,
  uid int,
  gid int,
  display_name text,
  state text not null default 'active' check (state in ('active', 'suspended')),
  unique (site, username)
);

create table identity.identities (
  id bigint generated always as identity primary key,
  issuer_id int not null references identity.issuers,
  subject text not null,
  display_name text,
  last_seen timestamptz not null default now(),
  unique (issuer_id, subject)
);

create table identity.links (
  id uuid primary key default gen_random_uuid(),
  site text not null references identity.sites on delete cascade,
  account_id bigint not null references identity.local_accounts on delete cascade,
  identity_id bigint not null references identity.identities,
  kind text not null check (kind in ('internal', 'external')),
  state text not null default 'active' check (state in ('active', 'suspended', 'unlinked')),
  configured boolean not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  unlinked_at timestamptz,
  unique (site, identity_id)
);
create index links_account on identity.links (account_id);

create table identity.api_keys (
  id uuid primary key default gen_random_uuid(),
  site text not null references identity.sites on delete cascade,
  name text not null,
  hash bytea not null unique,               -- SHA-256 of the key
  configured boolean not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  unique (site, name)
);

create table identity.audit (
  seq bigint generated always as identity primary key,
  at timestamptz not null default now(),
  realm text,
  actor text not null,                      -- client, user or `configuration`
  action text not null,                     -- `token.issue`, `link.create`, …
  object text not null,
  decision text not null check (decision in ('granted', 'refused')),
  reason text,
  request_id text,
  address text
);
create index audit_at on identity.audit (at);
