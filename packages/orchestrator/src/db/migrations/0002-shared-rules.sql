-- A datalake has one rule for the same files, place, account and number of copies. A deployment that wants what its user has
-- already shares that rule, and does not delete it: whoever made it does.
alter table orchestrator.rules add column shared boolean not null default false;
