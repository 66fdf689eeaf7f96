-- Local accounts of pools, and to whom they are lent (brief teapot 3.3). By site rather than by instance: it is the same
-- account whichever door of the site somebody comes through.
create table storage.account_leases (
  site text not null,
  pool text not null,
  account text not null,
  issuer text not null,
  subject text not null,
  leased_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  primary key (site, pool, account)
);
create unique index account_leases_by_user on storage.account_leases (site, pool, issuer, subject);
