import type { ColumnType, Generated, Selectable } from 'kysely';
import type { Phase } from '../core/phases.ts';
import type { Judgement } from '../core/placement.ts';
import type { DeploymentPlan } from '../core/plan.ts';
import type { Json } from '../core/tosca/index.ts';

/** jsonb: read as a value, written as JSON text. */
type JsonColumn<Value> = ColumnType<Value, string | undefined, string>;
type Time = ColumnType<Date, Date | undefined, Date>;

interface DeploymentTable {
  id: string;
  created_at: Time;
  updated_at: Time;
  issuer: string;
  subject: string;
  user_group: string;
  template: string;
  parameters: JsonColumn<Record<string, Json>>;
  plan: JsonColumn<DeploymentPlan>;
  phase: Phase;
  phase_since: Time;
  revision: Generated<number>;
  step_failures: Generated<number>;
  status_reason: string | null;
  outputs: JsonColumn<Record<string, Json>>;
  callback: string | null;
  force: Generated<boolean>;
  attempt: Generated<number>;
  provider: string | null;
  maximum_providers: number | null;
  keep_last_attempt: boolean;
  timeout_at: Date | null;
  provider_timeout_minutes: number;
  idempotency_key: string | null;
  request_digest: Buffer;
}

interface AttemptTable {
  deployment_id: string;
  number: number;
  provider: string;
  started_at: Time;
  ended_at: Date | null;
  failure_class: string | null;
  failure: string | null;
}

interface PlacementTable {
  deployment_id: string;
  number: number;
  decided_at: Time;
  judgements: JsonColumn<Judgement[]>;
}

type PodState = 'new' | 'waiting' | 'running' | 'succeeded' | 'failed';

interface PodTable {
  uid: string;
  deployment_id: string;
  attempt: number;
  job: string;
  provider: string;
  namespace: string;
  name: string;
  handed_over_at: Date | null;
  accepted_at: Date | null;
  remote_id: string | null;
  state: ColumnType<PodState, PodState | undefined, PodState>;
  reason: string | null;
  exit_code: number | null;
  deleted_at: Date | null;
}

interface RuleTable {
  deployment_id: string;
  mark: string;
  attempt: number;
  purpose: 'input' | 'output';
  did: string;
  rse_expression: string;
  rule_id: string | null;
  /** The user had this rule already: it is not ours to delete. */
  shared: Generated<boolean>;
  state: string | null;
  state_since: Time;
}

interface DelegationTable {
  deployment_id: string;
  audience: string;
  scopes: string[];
  access_token: Buffer | null;
  expires_at: Date;
  refresh_token: Buffer | null;
  refusal: string | null;
}

export type ResourceState =
  | 'INITIAL'
  | 'CREATING'
  | 'CREATED'
  | 'CONFIGURING'
  | 'CONFIGURED'
  | 'STARTING'
  | 'STARTED'
  | 'STOPPING'
  | 'STOPPED'
  | 'DELETING'
  | 'ERROR';

interface ResourceTable {
  id: string;
  deployment_id: string;
  position: number;
  created_at: Time;
  updated_at: Time;
  node_name: string;
  node_type: string;
  required_by: string[];
  state: ResourceState;
  physical_id: string | null;
}

interface LogTable {
  id: Generated<number>;
  deployment_id: string;
  at: Time;
  message: string;
}

export interface OrchestratorTables {
  'orchestrator.deployments': DeploymentTable;
  'orchestrator.attempts': AttemptTable;
  'orchestrator.placements': PlacementTable;
  'orchestrator.pods': PodTable;
  'orchestrator.rules': RuleTable;
  'orchestrator.delegations': DelegationTable;
  'orchestrator.resources': ResourceTable;
  'orchestrator.log': LogTable;
}

export type Deployment = Selectable<DeploymentTable>;
export type Attempt = Selectable<AttemptTable>;
export type Placement = Selectable<PlacementTable>;
export type Pod = Selectable<PodTable>;
export type Rule = Selectable<RuleTable>;
export type Resource = Selectable<ResourceTable>;
export type LogLine = Selectable<LogTable>;
