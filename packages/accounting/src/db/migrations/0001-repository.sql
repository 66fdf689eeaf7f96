-- Messages, job records and the summaries that follow from them (brief accounting 3.2 to 3.4, 3.6).
create schema if not exists accounting;

-- How texts are compared: upstream's MySQL ignores case and trailing blanks (3.3); the first spelling is what is shown.
create function accounting.folded(value text) returns text
  language sql immutable strict parallel safe
  return lower(normalize(btrim(value)));

-- The journal: a message is here, bytes and all, before its sender hears that it was taken.
create table accounting.messages (
  id uuid primary key,
  -- Arrival order: of two records with one key, the one sent last wins.
  sequence bigint generated always as identity unique,
  state text not null default 'received' check (state in ('received', 'loaded', 'rejected', 'quarantined')),
  type text,
  -- Client or user that sent it, from its token.
  signer text not null,
  -- A trace id of the sender's, not unique.
  empa_id text,
  body bytea not null,
  sha256 text not null,
  records integer not null default 0,
  reason text,
  errors jsonb not null default '[]',
  received_at timestamptz not null default now(),
  finished_at timestamptz
);
create index messages_waiting on accounting.messages (sequence) where state = 'received';
create index messages_by_signer on accounting.messages (signer, sequence desc);
create index messages_retries on accounting.messages (signer, empa_id, sha256) where empa_id is not null;

create table accounting.job_records (
  site text not null,
  local_job_id text not null,
  end_time timestamptz not null,
  site_key text not null generated always as (accounting.folded(site)) stored,
  local_job_key text not null generated always as (accounting.folded(local_job_id)) stored,
  month date not null generated always as (date_trunc('month', end_time at time zone 'UTC')::date) stored,
  -- The message it came with.
  sequence bigint not null references accounting.messages (sequence),
  submit_host text not null,
  machine_name text not null,
  queue text not null,
  local_user_id text not null,
  global_user_name text not null,
  fqan text not null,
  vo text not null,
  vo_group text not null,
  vo_role text not null,
  -- Seconds.
  wall_duration bigint not null check (wall_duration >= 0),
  cpu_duration bigint not null check (cpu_duration >= 0),
  -- 0 when the sender did not say.
  processors integer not null,
  node_count integer not null,
  start_time timestamptz not null,
  infrastructure_description text not null,
  infrastructure_type text not null,
  -- KB.
  memory_real bigint,
  memory_virtual bigint,
  service_level_type text not null,
  service_level numeric(10, 3) not null,
  -- Every benchmark that the record named, the preferred one included: {"hepspec": 11.4, "hepscore23": 15.3}.
  benchmarks jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  check (end_time >= start_time),
  primary key (site_key, local_job_key, end_time)
);
create index job_records_by_partition on accounting.job_records (site_key, month);
create index job_records_by_message on accounting.job_records (sequence);

create table accounting.summaries (
  site_key text not null,
  month date not null,
  site text not null,
  vo text not null,
  vo_group text not null,
  vo_role text not null,
  global_user_name text not null,
  submit_host text not null,
  infrastructure_type text not null,
  service_level_type text not null,
  service_level numeric(10, 3) not null,
  node_count integer not null,
  processors integer not null,
  earliest_end_time timestamptz not null,
  latest_end_time timestamptz not null,
  wall_duration bigint not null,
  cpu_duration bigint not null,
  normalised_wall_duration bigint not null,
  normalised_cpu_duration bigint not null,
  number_of_jobs bigint not null,
  updated_at timestamptz not null default now()
);
create index summaries_by_partition on accounting.summaries (site_key, month);
create index summaries_by_month on accounting.summaries (month);

-- Partitions whose summaries are older than their records. Append only, so that loads never wait for one another.
create table accounting.dirty_partitions (
  id bigint generated always as identity primary key,
  site_key text not null,
  month date not null
);
