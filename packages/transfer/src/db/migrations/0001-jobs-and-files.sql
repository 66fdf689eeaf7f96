-- Jobs and files of the transfer service (brief fts 2.5, 3.1). Column names are the protocol's field names, so that a row
-- reads like the object on the wire; columns below "ours" never leave the server.

create schema if not exists transfer;

create table transfer.jobs (
  job_id                  uuid primary key,
  job_state               text not null check (job_state in
                            ('STAGING','SUBMITTED','READY','ACTIVE','ARCHIVING','FINISHED','FINISHEDDIRTY','FAILED','CANCELED')),
  job_type                text not null check (job_type in ('N','Y','H','R')),
  cancel_job              boolean not null default false,
  source_se               text,
  dest_se                 text,
  user_dn                 text not null,
  cred_id                 text not null,
  vo_name                 text not null,
  submit_host             text not null,
  reason                  text,
  submit_time             timestamptz not null default now(),
  job_finished            timestamptz,
  priority                smallint not null check (priority between 1 and 5),
  max_time_in_queue       timestamptz,
  source_space_token      text,
  space_token             text,
  overwrite_flag          text check (overwrite_flag in ('Y','R','M','D','Q')),
  dst_file_report         boolean not null default false,
  verify_checksum         text not null check (verify_checksum in ('n','s','t','b')),
  copy_pin_lifetime       integer not null default -1,
  bring_online            integer not null default -1,
  archive_timeout         integer not null default -1,
  retry                   integer not null default 0,
  retry_delay             integer not null default 0,
  job_metadata            jsonb,
  -- ours
  parameters              jsonb not null default '{}',
  check ((job_finished is not null) = (job_state in ('FINISHED','FINISHEDDIRTY','FAILED','CANCELED')))
);

create index jobs_by_owner on transfer.jobs (vo_name, submit_time desc);
create index jobs_open on transfer.jobs (vo_name, submit_time) where job_finished is null;

-- Storage tokens, each once, encrypted; the id is the first 16 hex digits of its SHA-1 (brief 2.4).
create table transfer.tokens (
  token_id                text primary key,
  sealed                  bytea not null,
  issuer                  text,
  subject                 text,
  expires_at              timestamptz,
  stored_at               timestamptz not null default now()
);

-- One row a mover process. Its lease covers every file it holds; `machine` and `started` tell a living process from a
-- new one with the same number, so a restart on the same machine need not wait for the lease to end.
create table transfer.movers (
  mover_id                uuid primary key,
  host                    text not null,
  machine                 text not null,
  pid                     integer not null,
  started                 text not null,
  alive_until             timestamptz not null
);

create table transfer.files (
  file_id                 bigint generated always as identity primary key,
  job_id                  uuid not null references transfer.jobs,
  file_index              integer not null,
  hashed_id               integer not null,
  vo_name                 text not null,
  activity                text not null,
  priority                smallint not null,
  file_state              text not null check (file_state in
                            ('TOKEN_PREP','STAGING','STARTED','SUBMITTED','READY','ACTIVE','ARCHIVING','ON_HOLD','ON_HOLD_STAGING',
                             'FORCE_START','NOT_USED','FINISHED','FAILED','CANCELED')),
  file_state_initial      text not null,
  source_se               text not null,
  dest_se                 text not null,
  source_surl             text not null,
  dest_surl               text not null,
  dest_surl_uuid          uuid,
  transfer_host           text,
  reason                  text,
  recoverable             boolean,
  filesize                bigint,
  user_filesize           bigint not null default 0,
  checksum                text not null,
  start_time              timestamptz,
  finish_time             timestamptz,
  tx_duration             double precision,
  throughput              double precision,
  transferred             bigint not null default 0,
  retry                   integer not null default 0,
  file_metadata           jsonb,
  staging_metadata        jsonb,
  archive_metadata        jsonb,
  selection_strategy      text not null default 'auto',
  scitag                  integer,
  src_token_id            text references transfer.tokens,
  dst_token_id            text references transfer.tokens,
  -- ours
  mover_id                uuid references transfer.movers,
  not_before              timestamptz not null default now(),
  -- Bytes may lie at the destination, and they are ours: set before a copy begins, cleared when it is gone or verified.
  destination_touched     boolean not null default false,
  -- How often a mover died with this file in hand; does not count as a retry.
  interruptions           smallint not null default 0,
  check (mover_id is null or file_state in ('READY','ACTIVE','CANCELED','FAILED')),
  check ((finish_time is not null) = (file_state in ('FINISHED','FAILED','CANCELED')))
);

create index files_of_job on transfer.files (job_id, file_id);
-- What keeps a job open; tiny beside the table, so that "is anything left?" does not read a job of 10,000 files.
create index files_open on transfer.files (job_id)
  where file_state not in ('FINISHED','FAILED','CANCELED','NOT_USED');
-- The queue, in the order in which it is served: links and lanes are found by skipping through its prefix.
create index files_queued on transfer.files (source_se, dest_se, vo_name, activity, priority desc, file_id)
  where file_state = 'SUBMITTED';
create index files_in_hand on transfer.files (mover_id) where mover_id is not null;
create index files_to_clean on transfer.files (not_before)
  where destination_touched and file_state in ('FAILED','CANCELED');
create index files_running on transfer.files (source_se, dest_se) where file_state in ('READY','ACTIVE');
-- At most one unfinished transfer to a destination (brief 2.6, dest_surl_uuid).
create unique index files_destination on transfer.files (dest_surl_uuid)
  where dest_surl_uuid is not null and file_state not in ('FINISHED','FAILED','CANCELED','NOT_USED');
create index files_by_destination on transfer.files using hash (dest_surl);
create index files_recent on transfer.files (vo_name, file_id desc);

create table transfer.file_retries (
  file_id                 bigint not null references transfer.files,
  attempt                 integer not null,
  datetime                timestamptz not null default now(),
  reason                  text not null,
  transfer_host           text,
  primary key (file_id, attempt)
);

-- Limits and capabilities (brief 2.9). '*' is the default row; null means "as the default says".
create table transfer.storages (
  storage                 text primary key,
  inbound_max_active      integer,
  outbound_max_active     integer,
  tpc_support             text check (tpc_support in ('FULL','PULL','PUSH','NONE'))
);

create table transfer.links (
  symbolic_name           text primary key,
  source                  text not null default '*',
  destination             text not null default '*',
  min_active              integer,
  max_active              integer,
  unique (source, destination)
);

create table transfer.activity_shares (
  vo                      text not null,
  activity                text not null,
  share                   double precision not null check (share > 0),
  primary key (vo, activity)
);
