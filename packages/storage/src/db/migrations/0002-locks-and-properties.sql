-- WebDAV locks (RFC 4918 section 6) and dead properties (section 4). Both belong to names, not to contents: a PUT that
-- replaces a file keeps them, a MOVE takes properties along and leaves locks behind.
create table storage.locks (
  instance text not null,
  -- urn:uuid:…
  token text not null,
  -- Plain, absolute, without a trailing slash: /rucio/a b
  path text not null,
  deep boolean not null,
  shared boolean not null,
  -- XML that the client gave, with its namespaces.
  owner text not null,
  -- Issuer and subject of who took it.
  principal text not null,
  timeout_seconds integer not null,
  expires_at timestamptz not null,
  primary key (instance, token)
);
create index locks_by_path on storage.locks (instance, path text_pattern_ops);

create table storage.properties (
  instance text not null,
  path text not null,
  namespace text not null,
  name text not null,
  -- The whole element as XML, with its namespaces.
  element text not null,
  primary key (instance, path, namespace, name)
);
create index properties_by_path on storage.properties (instance, path text_pattern_ops);
