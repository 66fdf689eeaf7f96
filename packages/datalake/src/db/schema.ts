/** Rows as PostgreSQL gives them; bigint arrives as number, timestamptz as Date. */

export type AccountType = 'USER' | 'GROUP' | 'SERVICE';
export type AccountStatus = 'ACTIVE' | 'SUSPENDED' | 'DELETED';
export type IdentityType = 'X509' | 'GSS' | 'USERPASS' | 'SSH' | 'SAML' | 'OIDC';

export interface AccountRow {
  account: string;
  account_type: AccountType;
  status: AccountStatus;
  email: string | null;
  created_at: Date;
  updated_at: Date;
  suspended_at: Date | null;
  deleted_at: Date | null;
}

export interface RseRow {
  id: string;
  rse: string;
  rse_type: 'DISK' | 'TAPE';
  deterministic: boolean;
  volatile: boolean;
  staging_area: boolean;
  availability_read: boolean;
  availability_write: boolean;
  availability_delete: boolean;
  settings: Record<string, string | number | null>;
  deleted_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

export interface ProtocolRow {
  rse_id: string;
  scheme: string;
  hostname: string;
  port: number;
  prefix: string;
  impl: string;
  lan_read: number | null;
  lan_write: number | null;
  lan_delete: number | null;
  wan_read: number | null;
  wan_write: number | null;
  wan_delete: number | null;
  third_party_copy_read: number | null;
  third_party_copy_write: number | null;
  extended_attributes: Record<string, unknown> | null;
}

export type DidType = 'FILE' | 'DATASET' | 'CONTAINER';

export interface DidRow {
  id: number;
  scope: string;
  name: string;
  did_type: DidType;
  account: string;
  bytes: number | null;
  length: number | null;
  md5: string | null;
  adler32: string | null;
  guid: string | null;
  is_open: boolean | null;
  monotonic: boolean;
  hidden: boolean;
  obsolete: boolean;
  suppressed: boolean;
  purge_replicas: boolean;
  availability: 'AVAILABLE' | 'DELETED' | 'LOST';
  access_cnt: number | null;
  accessed_at: Date | null;
  closed_at: Date | null;
  expired_at: Date | null;
  eol_at: Date | null;
  metadata: Record<string, unknown>;
  created_at: Date;
  updated_at: Date;
}

export type ReplicaState =
  | 'AVAILABLE'
  | 'UNAVAILABLE'
  | 'COPYING'
  | 'BEING_DELETED'
  | 'BAD'
  | 'TEMPORARY_UNAVAILABLE';

export type RuleState = 'INJECT' | 'REPLICATING' | 'OK' | 'STUCK' | 'SUSPENDED' | 'WAITING_APPROVAL';
export type LockState = 'REPLICATING' | 'OK' | 'STUCK';
export type Grouping = 'ALL' | 'DATASET' | 'NONE';
export type Notification = 'YES' | 'NO' | 'CLOSE' | 'PROGRESS';

export interface RuleRow {
  id: string;
  did_id: number;
  account: string;
  state: RuleState;
  error: string | null;
  rse_expression: string;
  copies: number;
  grouping: Grouping;
  weight: string | null;
  source_replica_expression: string | null;
  activity: string;
  priority: number;
  notification: Notification;
  locked: boolean;
  purge_replicas: boolean;
  ignore_availability: boolean;
  ignore_account_limit: boolean;
  split_container: boolean;
  comments: string | null;
  meta: string | null;
  subscription_id: string | null;
  child_rule_id: string | null;
  locks_ok_cnt: number;
  locks_replicating_cnt: number;
  locks_stuck_cnt: number;
  expires_at: Date | null;
  eol_at: Date | null;
  stuck_at: Date | null;
  repair_after: Date | null;
  created_at: Date;
  updated_at: Date;
}

/** A rule with the DID it is about, as every answer shows it. */
export interface RuleWithDid extends RuleRow {
  scope: string;
  name: string;
  did_type: DidType;
  did_bytes: number | null;
}

export interface RequestRow {
  id: string;
  did_id: number;
  rse_id: string;
  source_rse_id: string | null;
  rule_id: string | null;
  request_type: 'TRANSFER' | 'STAGEIN';
  state: string;
  account: string;
  activity: string;
  priority: number;
  bytes: number;
  md5: string | null;
  adler32: string | null;
  source_url: string | null;
  dest_url: string | null;
  submission_id: string | null;
  external_id: string | null;
  external_host: string | null;
  retry_count: number;
  previous_attempt_id: string | null;
  failed_sources: string[];
  err_msg: string | null;
  requested_at: Date;
  submitted_at: Date | null;
  started_at: Date | null;
  transferred_at: Date | null;
}
