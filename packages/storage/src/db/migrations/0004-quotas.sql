-- Quotas of our own (packages/storage/src/core/space): bytes by owner, in areas that have a quota. The owner is a local
-- account, or issuer and subject; an empty one stands for files that came into being underneath.
create table storage.usage (
  instance text not null,
  area text not null,
  owner text not null,
  used_bytes bigint not null,
  -- When the files themselves were last counted; between counts, changes through the door are added and taken away.
  counted_at timestamptz,
  primary key (instance, area, owner)
);

-- Bytes promised to uploads that are under way, by the process that receives them: gone with it.
create table storage.space_claims (
  instance text not null,
  area text not null,
  owner text not null,
  process text not null,
  bytes bigint not null,
  primary key (instance, area, owner, process)
);

-- Who uploaded a file, where one account owns them all on disk. Counts while the time of birth is still that of the file.
create table storage.file_owners (
  instance text not null,
  area text not null,
  inode bigint not null,
  created_ns bigint not null,
  owner text not null,
  primary key (instance, area, inode)
);
