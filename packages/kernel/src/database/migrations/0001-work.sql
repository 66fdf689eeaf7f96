-- Durable work (see work/): one row a job. A row lives while the job is wanted; completion deletes it.
create table kernel.work (
  id bigint generated always as identity primary key,
  queue text not null,
  key text,
  payload jsonb not null,
  -- Smaller runs first.
  priority int not null default 100,
  -- Failed attempts so far.
  failures int not null default 0,
  -- May be claimed now. False for a job that waits for its time, and for a running one.
  ready boolean not null,
  -- The time of a waiting job; the end of the lease of a running one.
  due_at timestamptz not null,
  -- Set by every claim to a new value: whoever holds another one has lost the job. Null while waiting.
  lease uuid,
  created_at timestamptz not null default now(),
  last_error text
);

-- What the claim walks: only ready rows, in the order in which they run, so it reads no more entries than it takes.
create index work_ready on kernel.work (queue, priority, id) where ready;

-- What ripens next: waiting jobs by their time, running ones by the end of their lease.
create index work_due on kernel.work (queue, due_at) where not ready;

-- "While a job with this key is waiting": a running one does not count, so that a change made meanwhile is not lost.
create unique index work_key on kernel.work (queue, key) where key is not null and lease is null;

-- Rows turn over fast: vacuum by number rather than by share of a table that is nearly empty, and without pauses.
alter table kernel.work set (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0
);

-- Jobs that failed too often, or gave up; kept until an operator retries or discards them.
create table kernel.dead_work (
  id bigint primary key,
  queue text not null,
  key text,
  payload jsonb not null,
  priority int not null,
  failures int not null,
  created_at timestamptz not null,
  died_at timestamptz not null default now(),
  last_error text
);

create index dead_work_queue on kernel.dead_work (queue, died_at);
