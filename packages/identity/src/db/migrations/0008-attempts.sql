-- How often who tried what, over all processes. Keys are hashed: they hold addresses and names.
create table identity.attempts (
  hash bytea primary key,                   -- SHA-256 of the limit's name and the key
  allowed int,                              -- so many in the window, then nothing until its end; null: no limit, a memory
  count int not null,
  blocked boolean not null generated always as (coalesce(count >= allowed, false)) stored,
  expires_at timestamptz not null
);
create index attempts_expiry on identity.attempts (expires_at);
create index attempts_blocked on identity.attempts (expires_at) where blocked;
