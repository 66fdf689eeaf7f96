-- Accounts, scopes, RSEs, DIDs and replicas (brief rucio-api 2.2 to 2.5, 3.1 to 3.10).

create schema if not exists datalake;

create table datalake.accounts (
  account text primary key,
  account_type text not null check (account_type in ('USER', 'GROUP', 'SERVICE')),
  status text not null default 'ACTIVE' check (status in ('ACTIVE', 'SUSPENDED', 'DELETED')),
  email text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  suspended_at timestamptz,
  deleted_at timestamptz
);

create table datalake.account_attributes (
  account text not null references datalake.accounts,
  key text not null,
  value text not null,
  primary key (account, key)
);

-- A credential: `SUB=<sub>, ISS=<iss>` of type OIDC, a user name of type USERPASS, a DN of type X509.
create table datalake.identities (
  identity text not null,
  identity_type text not null check (identity_type in ('X509', 'GSS', 'USERPASS', 'SSH', 'SAML', 'OIDC')),
  email text,
  password_hash text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (identity, identity_type)
);

create table datalake.account_identities (
  identity text not null,
  identity_type text not null,
  account text not null references datalake.accounts,
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (identity, identity_type, account),
  foreign key (identity, identity_type) references datalake.identities on delete cascade
);
create index on datalake.account_identities (account);

-- Tokens that the datalake itself issued; only their SHA-256 is kept.
create table datalake.tokens (
  digest bytea primary key,
  account text not null references datalake.accounts,
  identity text not null,
  identity_type text not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now()
);
create index on datalake.tokens (expires_at);

create table datalake.scopes (
  scope text primary key,
  account text not null references datalake.accounts,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- Accounts that may write into a scope beside its owner.
create table datalake.scope_writers (
  scope text not null references datalake.scopes on delete cascade,
  account text not null references datalake.accounts,
  primary key (scope, account)
);

create table datalake.rses (
  id uuid primary key default gen_random_uuid(),
  rse text not null unique,
  rse_type text not null default 'DISK' check (rse_type in ('DISK', 'TAPE')),
  deterministic boolean not null default true,
  volatile boolean not null default false,
  staging_area boolean not null default false,
  availability_read boolean not null default true,
  availability_write boolean not null default true,
  availability_delete boolean not null default true,
  -- city, region_code, country_name, continent, time_zone, ISP, ASN, latitude, longitude, qos_class
  settings jsonb not null default '{}',
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table datalake.rse_attributes (
  rse_id uuid not null references datalake.rses,
  key text not null,
  value text not null,
  primary key (rse_id, key)
);

-- Priorities: 1 is best, null means not offered.
create table datalake.rse_protocols (
  rse_id uuid not null references datalake.rses,
  scheme text not null,
  hostname text not null,
  port integer not null,
  prefix text not null,
  impl text not null,
  lan_read integer,
  lan_write integer,
  lan_delete integer,
  wan_read integer,
  wan_write integer,
  wan_delete integer,
  third_party_copy_read integer,
  third_party_copy_write integer,
  extended_attributes jsonb,
  created_at timestamptz not null default now(),
  primary key (rse_id, scheme, hostname, port)
);

create table datalake.rse_limits (
  rse_id uuid not null references datalake.rses,
  name text not null,
  value bigint not null,
  primary key (rse_id, name)
);

-- Space as reported by probes (`storage`, …); source `rucio` is counted from the replicas instead.
create table datalake.rse_usage (
  rse_id uuid not null references datalake.rses,
  source text not null,
  used bigint,
  free bigint,
  files bigint,
  updated_at timestamptz not null default now(),
  primary key (rse_id, source)
);

create table datalake.distances (
  src_rse_id uuid not null references datalake.rses,
  dest_rse_id uuid not null references datalake.rses,
  distance integer not null check (distance >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (src_rse_id, dest_rse_id)
);

-- Changes with every change of RSEs, attributes and protocols, so that each process knows when its copy is stale. From a
-- sequence, so that a version that was rolled back never comes again with other content.
create sequence datalake.topology_versions;
create table datalake.topology_version (
  catalogue uuid primary key default gen_random_uuid(),
  version bigint not null default nextval('datalake.topology_versions')
);
insert into datalake.topology_version default values;

-- `account_limits` of upstream (one RSE) have `rse_id`; `account_glob_limits` (an expression) have `rse_expression`. -1: unlimited.
create table datalake.account_limits (
  account text not null references datalake.accounts,
  rse_id uuid not null references datalake.rses,
  bytes bigint not null,
  updated_at timestamptz not null default now(),
  primary key (account, rse_id)
);
create table datalake.account_global_limits (
  account text not null references datalake.accounts,
  rse_expression text not null,
  bytes bigint not null,
  updated_at timestamptz not null default now(),
  primary key (account, rse_expression)
);

create table datalake.dids (
  id bigint generated always as identity primary key,
  scope text not null references datalake.scopes,
  name text not null,
  did_type text not null check (did_type in ('FILE', 'DATASET', 'CONTAINER')),
  account text not null,
  bytes bigint,
  length bigint,
  md5 text,
  adler32 text,
  guid uuid,
  is_open boolean,
  monotonic boolean not null default false,
  hidden boolean not null default false,
  obsolete boolean not null default false,
  suppressed boolean not null default false,
  purge_replicas boolean not null default false,
  availability text not null default 'AVAILABLE' check (availability in ('AVAILABLE', 'DELETED', 'LOST')),
  access_cnt bigint,
  accessed_at timestamptz,
  closed_at timestamptz,
  expired_at timestamptz,
  eol_at timestamptz,
  -- Physics columns of upstream (`project`, `datatype`, …) and free keys alike: one place, one index.
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (scope, name)
);
create index on datalake.dids (scope, name text_pattern_ops);
create index on datalake.dids using gin (metadata jsonb_path_ops);
create index on datalake.dids (expired_at) where expired_at is not null;
create index on datalake.dids (guid) where guid is not null;

create table datalake.contents (
  parent_id bigint not null references datalake.dids,
  child_id bigint not null references datalake.dids,
  created_at timestamptz not null default now(),
  primary key (parent_id, child_id)
);
create index on datalake.contents (child_id);

create table datalake.contents_history (
  parent_id bigint not null,
  scope text not null,
  name text not null,
  did_type text not null,
  bytes bigint,
  adler32 text,
  md5 text,
  created_at timestamptz not null,
  deleted_at timestamptz not null default now()
);
create index on datalake.contents_history (parent_id);

-- What was attached to or detached from a collection and has not been looked at by its rules (upstream: updated_dids).
create table datalake.content_changes (
  id bigint generated always as identity primary key,
  parent_id bigint not null,
  child_id bigint not null,
  action text not null check (action in ('ATTACH', 'DETACH')),
  created_at timestamptz not null default now()
);

create table datalake.replicas (
  did_id bigint not null references datalake.dids,
  rse_id uuid not null references datalake.rses,
  account text not null,
  bytes bigint not null,
  state text not null check (
    state in ('AVAILABLE', 'UNAVAILABLE', 'COPYING', 'BEING_DELETED', 'BAD', 'TEMPORARY_UNAVAILABLE')
  ),
  -- Below the prefix of the protocol; null on deterministic RSEs, where it is computed from the DID.
  path text,
  lock_cnt integer not null default 0 check (lock_cnt >= 0),
  tombstone timestamptz,
  -- When a rule asked for this copy; null for a replica that a client registered or is uploading.
  requested_at timestamptz,
  -- Failed deletions of the reaper: not tried again before this.
  delete_after timestamptz,
  accessed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (did_id, rse_id)
) with (fillfactor = 80);
create index on datalake.replicas (rse_id, did_id);
create index on datalake.replicas (tombstone) where lock_cnt = 0 and tombstone is not null;

-- Usage as a base plus the changes since; a background step folds them. No hot row under concurrent registration.
create table datalake.usage_changes (
  id bigint generated always as identity primary key,
  rse_id uuid not null,
  -- Null: replicas on the RSE (source `rucio`). Otherwise: locks of this account there.
  account text,
  files bigint not null,
  bytes bigint not null
);
create table datalake.usage_totals (
  rse_id uuid not null,
  account text,
  files bigint not null,
  bytes bigint not null,
  updated_at timestamptz not null default now(),
  unique nulls not distinct (rse_id, account)
);
create view datalake.usage as
  select rse_id, account, sum(files)::bigint as files, sum(bytes)::bigint as bytes, max(updated_at) as updated_at
  from (
    select rse_id, account, files, bytes, updated_at from datalake.usage_totals
    union all
    select rse_id, account, files, bytes, now() from datalake.usage_changes
  ) as parts
  group by rse_id, account;
