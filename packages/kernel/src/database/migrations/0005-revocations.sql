-- Credentials that must not be taken any more although their signature holds; every process keeps a copy (auth/revocations.ts).
create table kernel.revocations (
  issuer text not null,
  kind text not null check (kind in ('token', 'subject')),
  value text not null,                      -- `jti`, or `sub` of somebody suspended
  expires_at timestamptz not null,          -- when no token can be alive that this is about
  primary key (issuer, kind, value)
);
