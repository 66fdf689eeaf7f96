-- Rules, locks and transfer requests (brief rucio-daemons 3.1, 3.2).

create table datalake.rules (
  id uuid primary key default gen_random_uuid(),
  did_id bigint not null references datalake.dids,
  account text not null,
  state text not null check (
    state in ('INJECT', 'REPLICATING', 'OK', 'STUCK', 'SUSPENDED', 'WAITING_APPROVAL')
  ),
  error text,
  rse_expression text not null,
  copies integer not null check (copies >= 1),
  grouping text not null default 'DATASET' check (grouping in ('ALL', 'DATASET', 'NONE')),
  weight text,
  source_replica_expression text,
  activity text not null,
  priority integer not null default 3 check (priority between 1 and 5),
  notification text not null default 'NO' check (notification in ('YES', 'NO', 'CLOSE', 'PROGRESS')),
  locked boolean not null default false,
  purge_replicas boolean not null default false,
  ignore_availability boolean not null default false,
  ignore_account_limit boolean not null default false,
  split_container boolean not null default false,
  comments text,
  meta text,
  subscription_id uuid,
  child_rule_id uuid,
  locks_ok_cnt bigint not null default 0 check (locks_ok_cnt >= 0),
  locks_replicating_cnt bigint not null default 0 check (locks_replicating_cnt >= 0),
  locks_stuck_cnt bigint not null default 0 check (locks_stuck_cnt >= 0),
  expires_at timestamptz,
  eol_at timestamptz,
  stuck_at timestamptz,
  -- A stuck rule is looked at again not before this.
  repair_after timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (did_id, account, rse_expression, copies)
) with (fillfactor = 70);
create index on datalake.rules (account);
create index on datalake.rules (expires_at) where expires_at is not null;
create index on datalake.rules (repair_after) where state = 'STUCK';
create index on datalake.rules (created_at) where state = 'INJECT';
create index on datalake.rules (child_rule_id) where child_rule_id is not null;

create table datalake.rules_history (
  rule_id uuid not null,
  scope text not null,
  name text not null,
  account text not null,
  rse_expression text not null,
  state text not null,
  locks_ok_cnt bigint not null,
  locks_replicating_cnt bigint not null,
  locks_stuck_cnt bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null default now()
);
create index on datalake.rules_history (rule_id);
create index on datalake.rules_history (scope, name);

create table datalake.locks (
  rule_id uuid not null references datalake.rules,
  did_id bigint not null,
  rse_id uuid not null,
  account text not null,
  bytes bigint not null,
  state text not null check (state in ('REPLICATING', 'OK', 'STUCK')),
  repair_cnt integer not null default 0,
  created_at timestamptz not null default now(),
  primary key (rule_id, did_id, rse_id)
) with (fillfactor = 80);
create index on datalake.locks (did_id, rse_id);
create index on datalake.locks (rule_id) where state <> 'OK';

create table datalake.dataset_locks (
  rule_id uuid not null references datalake.rules,
  did_id bigint not null,
  rse_id uuid not null,
  account text not null,
  state text not null check (state in ('REPLICATING', 'OK', 'STUCK')),
  length bigint,
  bytes bigint,
  accessed_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (rule_id, did_id, rse_id)
);
create index on datalake.dataset_locks (did_id);
create index on datalake.dataset_locks (rse_id);

create table datalake.requests (
  id uuid primary key default gen_random_uuid(),
  did_id bigint not null,
  -- The destination.
  rse_id uuid not null,
  source_rse_id uuid,
  rule_id uuid,
  request_type text not null default 'TRANSFER' check (request_type in ('TRANSFER', 'STAGEIN')),
  state text not null check (state in ('QUEUED', 'SUBMITTING', 'SUBMITTED')),
  account text not null,
  activity text not null,
  priority integer not null,
  bytes bigint not null,
  md5 text,
  adler32 text,
  source_url text,
  dest_url text,
  -- Of the FTS job: our `sid`, chosen before the submission, and the job id that it led to.
  submission_id uuid,
  external_id uuid,
  external_host text,
  -- While SUBMITTING: another process takes over after this.
  lease_until timestamptz,
  run_after timestamptz not null default now(),
  retry_count integer not null default 0,
  previous_attempt_id uuid,
  -- Sources that failed in earlier attempts, once per failure: the others go first.
  failed_sources uuid[] not null default '{}',
  err_msg text,
  polled_at timestamptz,
  requested_at timestamptz not null default now(),
  submitted_at timestamptz,
  started_at timestamptz,
  transferred_at timestamptz,
  updated_at timestamptz not null default now(),
  unique (did_id, rse_id, request_type)
) with (fillfactor = 70);
create index on datalake.requests (priority desc, requested_at) where state = 'QUEUED';
create index on datalake.requests (lease_until) where state = 'SUBMITTING';
create index on datalake.requests (polled_at nulls first) where state = 'SUBMITTED';
create index on datalake.requests (submission_id) where submission_id is not null;
create index on datalake.requests (rule_id);

create table datalake.requests_history (
  id uuid primary key,
  did_id bigint not null,
  rse_id uuid not null,
  source_rse_id uuid,
  rule_id uuid,
  request_type text not null,
  state text not null,
  account text not null,
  activity text not null,
  priority integer not null,
  bytes bigint not null,
  md5 text,
  adler32 text,
  source_url text,
  dest_url text,
  external_id uuid,
  external_host text,
  retry_count integer not null,
  previous_attempt_id uuid,
  err_msg text,
  requested_at timestamptz not null,
  submitted_at timestamptz,
  started_at timestamptz,
  transferred_at timestamptz,
  archived_at timestamptz not null default now()
);
create index on datalake.requests_history (did_id, rse_id);
create index on datalake.requests_history (rule_id);
