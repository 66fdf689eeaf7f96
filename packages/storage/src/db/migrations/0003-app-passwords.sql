-- Passwords for clients that know only Basic (mounted drives). A password is random, so that its hash needs no salt.
create table storage.app_passwords (
  instance text not null,
  id uuid not null default gen_random_uuid(),
  -- SHA-256 of the password.
  hash bytea not null,
  -- What its owner calls it: the laptop's name.
  label text not null,
  issuer text not null,
  subject text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (instance, id)
);
create unique index app_passwords_by_hash on storage.app_passwords (instance, hash);
