-- What runs in the processes of an instance, so that any of them can list and end it (brief teapot 2.9). Rows are
-- written anew every few seconds by the process that runs the thing; those that nobody writes any more are of a process
-- that is gone, and are taken away.
create table storage.running_copies (
  instance text not null,
  id uuid not null,
  -- host~pid~start~random
  process text not null,
  issuer text not null,
  subject text not null,
  -- Local account, in multi-user mode; else empty.
  account text not null,
  direction text not null check (direction in ('pull', 'push')),
  path text not null,
  -- The other side: scheme, host and path, never a query.
  remote text not null,
  bytes bigint not null default 0,
  started_at timestamptz not null,
  seen_at timestamptz not null default now(),
  -- Who wants it to end.
  cancelled_by text,
  primary key (instance, id)
);
create index running_copies_by_owner on storage.running_copies (instance, issuer, subject);

create table storage.workers (
  instance text not null,
  process text not null,
  pid integer not null,
  account text not null,
  uid bigint not null,
  busy integer not null,
  memory_bytes bigint,
  started_at timestamptz not null,
  used_at timestamptz not null,
  seen_at timestamptz not null default now(),
  -- drain: when its last request has ended; kill: now.
  stop text check (stop in ('drain', 'kill')),
  primary key (instance, process, pid)
);
