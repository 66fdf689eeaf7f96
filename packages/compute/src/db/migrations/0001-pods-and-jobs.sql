create schema if not exists compute;

-- What operators decide about a site; everything else about it is configuration.
create table compute.sites (
  name           text primary key,
  drained        boolean not null default false,
  drained_reason text,
  drained_at     timestamptz,
  drained_by     text
);

-- A pod as it was handed over, and where it is in its life (core/pod-states.ts).
create table compute.pods (
  site                   text not null,
  uid                    uuid not null,
  namespace              text not null,
  name                   text not null,
  state                  text not null check (state in (
    'accepted', 'staging-in', 'ready', 'submitting', 'queued', 'running', 'staging-out',
    'succeeded', 'failed', 'deleting', 'deleted')),
  reason                 text,
  message                text,
  manifest               jsonb not null,
  -- ConfigMaps, Secrets and projected volumes, encrypted: { configmaps, secrets, projected }.
  volumes_sealed         bytea,
  -- Additions to the pod's annotations that we publish: compute.dte/unconfined.
  annotations            jsonb not null default '{}',
  owner_issuer           text not null,
  owner_subject          text not null,
  owner_groups           text[] not null default '{}',
  -- Refresh token for calls in the owner's name, encrypted; gone when the pod has ended.
  delegation_sealed      bytea,
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  ready_at               timestamptz,
  started_at             timestamptz,
  finished_at            timestamptz,
  deletion_requested_at  timestamptz,
  deletion_grace_seconds integer,
  primary key (site, uid)
);

create index pods_unfinished on compute.pods (site, state, ready_at)
  where state not in ('succeeded', 'failed', 'deleted');
create index pods_finished on compute.pods (site, finished_at desc) where finished_at is not null;
create index pods_of_owner on compute.pods (owner_issuer, owner_subject, created_at desc);

-- One attempt to run a pod. Made with the pod: its id is the JID that the caller gets at once.
create table compute.jobs (
  id                bigint generated always as identity primary key,
  site              text not null,
  pod_uid           uuid not null,
  attempt           integer not null default 1,
  -- Names the attempt in its start marker: at most one process with it ever runs.
  token             uuid not null default gen_random_uuid(),
  backend           text,
  -- The back end's own name of the job, and what it needs to find it again.
  jid               text,
  handle            jsonb,
  submitted_at      timestamptz,
  started_at        timestamptz,
  ended_at          timestamptz,
  cpu_seconds       double precision,
  peak_memory_bytes bigint,
  published_at      timestamptz,
  unique (site, pod_uid, attempt),
  foreign key (site, pod_uid) references compute.pods on delete cascade
);

create table compute.containers (
  site        text not null,
  pod_uid     uuid not null,
  name        text not null,
  init        boolean not null,
  position    integer not null,
  image       text not null,
  started_at  timestamptz,
  finished_at timestamptz,
  exit_code   integer,
  signal      integer,
  reason      text,
  message     text,
  primary key (site, pod_uid, name),
  foreign key (site, pod_uid) references compute.pods on delete cascade
);

-- Files that are brought to a pod before it starts, or carried away after it has ended well.
create table compute.staged_files (
  site       text not null,
  pod_uid    uuid not null,
  direction  text not null check (direction in ('in', 'out')),
  scope      text not null,
  name       text not null,
  -- Path in the container.
  path       text not null,
  bytes      bigint not null,
  adler32    text,
  rse        text,
  -- 'out' only: the dataset that the file is attached to.
  dataset    text,
  staged_at  timestamptz,
  primary key (site, pod_uid, direction, path, scope, name),
  foreign key (site, pod_uid) references compute.pods on delete cascade
);
