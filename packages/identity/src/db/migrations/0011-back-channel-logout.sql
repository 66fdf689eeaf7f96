-- Applications that are told when a person signs out (OpenID Connect Back-Channel Logout 1.0).
alter table identity.clients add column backchannel_logout_uri text;
alter table identity.authorization_codes add column session_id uuid;   -- `sid` of the ID token
create table identity.session_clients (
  session_id uuid not null references identity.sessions (id) on delete cascade,
  client_id text not null,
  primary key (session_id, client_id)
);
