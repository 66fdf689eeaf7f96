-- Checksums that were computed once, by file rather than by name (packages/storage/README.md says why): a record counts
-- only while size and modification time are still those of the content that was summed.
create schema if not exists storage;

create table storage.checksums (
  instance text not null,
  area text not null,
  -- Unsigned on disk, stored as the signed number of the same 64 bits.
  inode bigint not null,
  size_bytes bigint not null,
  modified_ns bigint not null,
  -- {"adler32": "11e60398", "md5": "…"}: lower-case hexadecimal.
  digests jsonb not null,
  recorded_at timestamptz not null default now(),
  primary key (instance, area, inode)
);
