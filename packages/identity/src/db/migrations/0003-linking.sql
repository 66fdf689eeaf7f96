-- People link accounts in the browser; services learn of every change.

create table identity.linking_sessions (
  id_hash bytea primary key,                                 -- SHA-256 of the cookie
  site text not null references identity.sites on delete cascade,
  account_id bigint not null references identity.local_accounts on delete cascade,
  display_name text,
  auth_time timestamptz not null,                            -- when the site's provider saw the person
  last_seen timestamptz not null default now(),
  expires_at timestamptz not null
);
create index linking_sessions_expiry on identity.linking_sessions (expires_at);
create index linking_sessions_account on identity.linking_sessions (account_id);

-- One way to a provider and back; single use.
create table identity.linking_transactions (
  state_hash bytea primary key,                              -- of the parameter `state`
  browser_hash bytea not null,                               -- of the browser that began it
  session_hash bytea,                                        -- of the session, when a link is to be made
  site text not null references identity.sites on delete cascade,
  kind text not null check (kind in ('internal', 'external')),
  provider text not null,
  verifier text not null,                                    -- PKCE
  nonce text not null,
  fresh boolean not null,                                    -- the person must sign in again
  subject text,                                              -- set when the person came back; waits for the confirmation
  display_name text,
  expires_at timestamptz not null
);
create index linking_transactions_expiry on identity.linking_transactions (expires_at);

-- What services read to drop what they remember; per site in the order of commits.
create table identity.link_changes (
  seq bigint generated always as identity primary key,
  site text not null references identity.sites on delete cascade,
  link_id uuid not null,
  state text not null,
  username text not null,
  issuer text not null,
  subject text not null,
  at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '30 days'
);
create index link_changes_site on identity.link_changes (site, seq);
create index link_changes_expiry on identity.link_changes (expires_at);

alter table identity.audit add column site text;
create index audit_site on identity.audit (site, seq) where site is not null;
