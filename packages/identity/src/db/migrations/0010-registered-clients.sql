-- Whose registered clients are, so that those that nobody uses can go; what providers say about people besides groups.
alter table identity.clients add column owner text;               -- `sub` of the person whom it first acted for
create index clients_registered on identity.clients (coalesce(last_used_at, created_at))
  where registration_token_hash is not null;

alter table identity.users
  add column assurance text[] not null default '{}',
  add column affiliations text[] not null default '{}',
  add column voperson_id text;
