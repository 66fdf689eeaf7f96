-- People sign in: password, browser session, authorization codes, device codes, registered clients.

alter table identity.users add column password_hash text;   -- scrypt, see core/passwords.ts

alter table identity.clients
  add column pkce_required boolean not null default true,
  add column registration_token_hash bytea,                  -- RFC 7592; null: not registered by itself
  add column registration jsonb,                             -- the metadata as registered
  add column last_used_at timestamptz;

create table identity.sessions (
  id_hash bytea primary key,                                 -- SHA-256 of the cookie
  realm text not null,
  subject text not null,
  auth_time timestamptz not null default now(),
  last_seen timestamptz not null default now(),
  wrong_codes int not null default 0,                        -- mistyped user codes
  expires_at timestamptz not null
);
create index sessions_expiry on identity.sessions (expires_at);

create table identity.authorization_codes (
  hash bytea primary key,
  realm text not null,
  client_id text not null,
  subject text not null,
  redirect_uri text not null,
  code_challenge text,                                       -- S256
  nonce text,
  scopes text[] not null,
  audiences text[] not null,
  auth_time timestamptz not null,
  family uuid not null default gen_random_uuid(),            -- of the refresh tokens that it gives
  used_at timestamptz,
  expires_at timestamptz not null
);
create index authorization_codes_expiry on identity.authorization_codes (expires_at);

create table identity.device_codes (
  hash bytea primary key,                                    -- of the device code
  user_code_hash bytea not null,
  realm text not null,
  client_id text not null,
  scopes text[] not null,
  audiences text[] not null,
  code_challenge text,
  state text not null default 'created' check (state in ('created', 'approved', 'denied', 'redeemed')),
  subject text,
  auth_time timestamptz,
  interval_seconds int not null default 5,
  polled_at timestamptz,
  expires_at timestamptz not null,
  unique (realm, user_code_hash)
);
create index device_codes_expiry on identity.device_codes (expires_at);

