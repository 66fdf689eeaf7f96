-- The simulated tape back end (brief teapot 2.7): which files have a copy on tape and are no more than stubs on disk, and
-- the requests that bring them back.
create table storage.tape_files (
  instance text not null,
  -- As in storage.checksums.
  area text not null,
  -- What stands at `path`, by inode, size and time: content (on_disk) or a stub of it. A file that does not match was
  -- changed underneath and has no copy on tape.
  inode bigint not null,
  size_bytes bigint not null,
  modified_ns bigint not null,
  -- Local account that the file belongs to, in multi-user mode; else empty.
  account text not null,
  -- As in the URL, decoded, without a trailing slash.
  path text collate "C" not null,
  -- Name in the library; nothing before the file is archived.
  copy text,
  adler32 text,
  on_disk boolean not null default true,
  -- Set before content and stub change places, to the time that what comes will carry: after a crash in between it says
  -- which of the two stands there.
  replacing_ns bigint,
  -- Not taken from disk before.
  disk_until timestamptz,
  primary key (instance, area, inode)
);
create index tape_files_by_path on storage.tape_files (instance, area, path);

create table storage.stage_requests (
  instance text not null,
  id uuid not null default gen_random_uuid(),
  issuer text not null,
  subject text not null,
  -- Local account of whoever asked, in multi-user mode; else empty.
  account text not null,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  primary key (instance, id)
);

create table storage.stage_files (
  instance text not null,
  request uuid not null,
  position integer not null,
  account text not null,
  -- As it was asked for, repeated slashes collapsed.
  asked text not null,
  path text not null,
  state text not null check (state in ('SUBMITTED', 'STARTED', 'COMPLETED', 'FAILED', 'CANCELLED')),
  disk_seconds integer not null,
  started_at timestamptz,
  finished_at timestamptz,
  -- While it is COMPLETED: not taken from disk before, unless released.
  pinned_until timestamptz,
  error text,
  primary key (instance, request, position),
  foreign key (instance, request) references storage.stage_requests (instance, id) on delete cascade
);
create index stage_files_by_path on storage.stage_files (instance, account, path);
create index stage_files_unfinished on storage.stage_files (instance, state) where state in ('SUBMITTED', 'STARTED');
