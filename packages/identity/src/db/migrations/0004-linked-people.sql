-- What providers say about people, for the services that may ask; groups of local accounts.
alter table identity.identities add column claims jsonb not null default '{}';
alter table identity.local_accounts add column groups text[] not null default '{}';
alter table identity.linking_transactions add column claims jsonb not null default '{}';

-- Keys: the beginning is shown later, so that people know which is which.
alter table identity.api_keys add column prefix text;
alter table identity.api_keys add column scopes text[] not null default '{alise.mapping}';
alter table identity.api_keys add column allowed_addresses cidr[] not null default '{}';

-- Tombstones go after 30 days.
create index links_unlinked on identity.links (unlinked_at) where state = 'unlinked';
