-- What people may see and end of their own, and for how long the audit names them.

alter table identity.sessions
  add column id uuid not null unique default gen_random_uuid(),   -- shown to its owner; opens nothing
  add column browser text,                                        -- as it calls itself, cut
  add column address text;
create index sessions_subject on identity.sessions (realm, subject);

-- The rows about a person. A client's own tokens are about nobody, and most of all rows.
create index audit_about on identity.audit (realm, object)
  where action like 'token.%' and action <> 'token.client_credentials';
create index audit_by on identity.audit (realm, actor) where action not like 'token.%';
create index audit_of_link on identity.audit (split_part(object, ' ', 2)) where action like 'link.%';

-- Append-only: no row is changed, or goes before its time, whoever asks. (A restore empties the table first.)
create function identity.keep_audit() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only' using hint = 'rows go 30 days after they were written, at the earliest';
end $$;
create trigger audit_is_not_changed before update on identity.audit
  for each statement execute function identity.keep_audit();
create trigger audit_is_kept before delete on identity.audit
  for each row when (old.at > now() - interval '30 days') execute function identity.keep_audit();
