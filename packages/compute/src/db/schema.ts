import type { ColumnType, Generated, JSONColumnType } from 'kysely';
import type { PodState } from '../core/pod-states.ts';

type Time = ColumnType<Date, Date | string | undefined, Date | string>;
type OptionalTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export interface SitesTable {
  name: string;
  drained: Generated<boolean>;
  drained_reason: string | null;
  drained_at: OptionalTime;
  drained_by: string | null;
}

export interface PodsTable {
  site: string;
  uid: string;
  namespace: string;
  name: string;
  state: PodState;
  reason: string | null;
  message: string | null;
  manifest: ColumnType<unknown, string, string>;
  volumes_sealed: Buffer | null;
  annotations: JSONColumnType<Record<string, string>, string | undefined, string>;
  owner_issuer: string;
  owner_subject: string;
  owner_groups: string[];
  delegation_sealed: Buffer | null;
  created_at: Time;
  updated_at: Time;
  ready_at: OptionalTime;
  started_at: OptionalTime;
  finished_at: OptionalTime;
  deletion_requested_at: OptionalTime;
  deletion_grace_seconds: number | null;
}

export interface JobsTable {
  id: Generated<number>;
  site: string;
  pod_uid: string;
  attempt: Generated<number>;
  token: Generated<string>;
  backend: string | null;
  jid: string | null;
  handle: ColumnType<unknown, string | null | undefined, string | null>;
  submitted_at: OptionalTime;
  started_at: OptionalTime;
  ended_at: OptionalTime;
  cpu_seconds: number | null;
  peak_memory_bytes: number | null;
  published_at: OptionalTime;
}

export interface ContainersTable {
  site: string;
  pod_uid: string;
  name: string;
  init: boolean;
  position: number;
  image: string;
  started_at: OptionalTime;
  finished_at: OptionalTime;
  exit_code: number | null;
  signal: number | null;
  reason: string | null;
  message: string | null;
}

export interface StagedFilesTable {
  site: string;
  pod_uid: string;
  direction: 'in' | 'out';
  scope: string;
  name: string;
  path: string;
  bytes: number;
  adler32: string | null;
  rse: string | null;
  dataset: string | null;
  staged_at: OptionalTime;
}

export interface ComputeTables {
  'compute.sites': SitesTable;
  'compute.pods': PodsTable;
  'compute.jobs': JobsTable;
  'compute.containers': ContainersTable;
  'compute.staged_files': StagedFilesTable;
}
