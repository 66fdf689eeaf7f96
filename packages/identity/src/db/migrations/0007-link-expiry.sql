-- Whether services have been told that a link has reached its end.
alter table identity.links add column expiry_told boolean not null default false;
create index links_expiring on identity.links (expires_at)
  where state = 'active' and expires_at is not null and not expiry_told;
