-- Macaroons (brief teapot 2.6): the keys that sign them, and what each stands on. Macaroons themselves are not kept.
create table storage.macaroon_keys (
  instance text not null,
  -- Stands in the macaroon: which key signs it.
  id text not null,
  -- 32 random bytes, encrypted with the installation's key.
  sealed bytea not null,
  created_at timestamptz not null default now(),
  primary key (instance, id)
);

-- The rights of a credential that asked for macaroons, as they were. Clients may ask before each of their requests, so
-- that all macaroons of one credential share a row. Deleting it makes them void.
create table storage.macaroon_grants (
  instance text not null,
  id bigint generated always as identity,
  -- SHA-256 of issuer, subject and rights.
  digest bytea not null,
  issuer text not null,
  subject text not null,
  rights jsonb not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (instance, id)
);
create unique index macaroon_grants_by_digest on storage.macaroon_grants (instance, digest);
create index macaroon_grants_by_owner on storage.macaroon_grants (instance, issuer, subject);
create index macaroon_grants_by_end on storage.macaroon_grants (instance, expires_at);
