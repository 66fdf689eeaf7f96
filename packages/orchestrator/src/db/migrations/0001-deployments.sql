create schema if not exists orchestrator;

-- One TOSCA deployment. The workflow (core/phases.ts) moves `phase`; every move raises `revision`, and a step that loaded
-- an older revision changes nothing.
create table orchestrator.deployments (
  id uuid primary key,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  issuer text not null,
  subject text not null,
  user_group text not null,
  template text not null,
  parameters jsonb not null default '{}',
  plan jsonb not null,
  phase text not null check (phase in
    ('placing', 'staging', 'submitting', 'running', 'publishing', 'complete', 'failed', 'deleting', 'delete-failed')),
  phase_since timestamptz not null default now(),
  revision integer not null default 0,
  -- Failures of the step in hand since it last succeeded; a step that keeps failing gives up.
  step_failures integer not null default 0,
  status_reason text,
  outputs jsonb not null default '{}',
  callback text,
  -- Delete even when a provider or the datalake does not answer.
  force boolean not null default false,
  -- Number of the attempt in hand, 0 before the first provider was chosen.
  attempt integer not null default 0,
  provider text,
  maximum_providers integer,
  keep_last_attempt boolean not null default false,
  timeout_at timestamptz,
  provider_timeout_minutes integer not null,
  idempotency_key text,
  -- SHA-256 of the request: the same key with another body is an error.
  request_digest bytea not null
);
create unique index deployments_idempotency on orchestrator.deployments (issuer, subject, idempotency_key)
  where idempotency_key is not null;
create index deployments_of_owner on orchestrator.deployments (issuer, subject, created_at desc, id);
create index deployments_of_group on orchestrator.deployments (user_group, created_at desc, id);
create index deployments_in_progress on orchestrator.deployments (phase)
  where phase not in ('complete', 'failed', 'delete-failed');

-- One try on one provider (brief 3.1).
create table orchestrator.attempts (
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  number integer not null,
  provider text not null,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  -- Class of brief 3.3, null while it runs and when it went well.
  failure_class text,
  failure text,
  primary key (deployment_id, number)
);

-- The judgements behind each choice: the answer to "why there?".
create table orchestrator.placements (
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  number integer not null,
  decided_at timestamptz not null default now(),
  judgements jsonb not null,
  primary key (deployment_id, number)
);

-- One pod of one attempt; written before the pod is handed over, so that a crash in between can be repaired.
create table orchestrator.pods (
  uid uuid primary key,
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  attempt integer not null,
  job text not null,
  provider text not null,
  namespace text not null,
  name text not null,
  handed_over_at timestamptz,
  accepted_at timestamptz,
  remote_id text,
  state text not null default 'new' check (state in ('new', 'waiting', 'running', 'succeeded', 'failed')),
  reason text,
  exit_code integer,
  deleted_at timestamptz,
  unique (deployment_id, attempt, job)
);
create index pods_by_name on orchestrator.pods (namespace, name);

-- Replication rules that the deployment made in the datalake; written before they are asked for.
create table orchestrator.rules (
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  -- Stands in the rule's comment, which is how a rule is found again after a crash.
  mark text not null,
  attempt integer not null,
  purpose text not null check (purpose in ('input', 'output')),
  did text not null,
  rse_expression text not null,
  rule_id text,
  state text,
  state_since timestamptz not null default now(),
  primary key (deployment_id, mark)
);
create index rules_by_id on orchestrator.rules (rule_id);

-- A user's authority for the time of the deployment: tokens for one audience, encrypted (context `<deployment>/<audience>`).
create table orchestrator.delegations (
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  audience text not null,
  scopes text[] not null,
  access_token bytea,
  expires_at timestamptz not null,
  refresh_token bytea,
  -- Why the issuer gave no token for this audience; the others are null then.
  refusal text,
  primary key (deployment_id, audience)
);

create table orchestrator.resources (
  id uuid primary key,
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  position integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  node_name text not null,
  node_type text not null,
  required_by text[] not null,
  state text not null,
  physical_id text,
  unique (deployment_id, position)
);

create table orchestrator.log (
  id bigint generated always as identity primary key,
  deployment_id uuid not null references orchestrator.deployments on delete cascade,
  at timestamptz not null default clock_timestamp(),
  message text not null
);
create index log_of_deployment on orchestrator.log (deployment_id, id);
