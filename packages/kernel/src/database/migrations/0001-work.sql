-- Durable work (see work/): one row a job. A row lives while the job is wanted; completion deletes it.
create table kernel.work (
  id bigint generated always as identity primary key,
  queue text not null,
  key text,
  payload jsonb not null,
  priority int not null default 100,
  -- Failed attempts so far.
  failures int not null default 0,
  -- When it may be claimed: the due time of a waiting job, the end of the lease of a running one.
  due_at timestamptz not null default now(),
  -- Changes with every claim: whoever holds another value has lost the lease. Null while waiting.
  lease uuid,
  created_at timestamptz not null default now(),
  last_error text
);

-- The claim walks this in order and stops after a batch.
create index work_claim on kernel.work (queue, priority, due_at, id);

-- "While a job with this key is waiting": a running one does not count, so that a change during the run is not lost.
create unique index work_key on kernel.work (queue, key) where key is not null and lease is null;

-- Rows are short-lived and updated in place: leave room for the update, and vacuum by number rather than by share.
alter table kernel.work set (
  fillfactor = 70,
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
