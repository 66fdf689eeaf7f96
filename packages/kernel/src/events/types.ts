import type { Principal } from '../auth/index.ts';
import type { ComponentName } from '../component/component-name.ts';
import type { Daemon } from '../component/daemon.ts';
import type { AnyTx, Database, NoTables, Tx, WakeUps } from '../database/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** One change, as it is put into the outbox (brief dashboard-and-example A3.1). */
export interface NewEvent {
  /** `rule.updated`, `file.state`, … */
  readonly type: string;
  /** What it is about: `scope:name`, an id, a path. Order is kept per subject. */
  readonly subject: string;
  /** The entity in the JSON of the component's GET, or `{ changed: [...] }` when large. Never credentials. */
  readonly data: unknown;
}

/** CloudEvents 1.0 JSON, as it goes over the wire. */
export interface CloudEvent {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly time: string;
  readonly data: unknown;
}

/** Puts events into the outbox within the transaction of the change, and wakes the streams. */
export type Emit = (
  tx: AnyTx,
  wakeUps: WakeUps,
  component: ComponentName,
  events: readonly NewEvent[],
) => Promise<void>;

/** Decides for one caller and one event; `undefined` principal means no valid token: answer 401 before streaming. */
export type EventVisibility = (principal: Principal, event: CloudEvent) => boolean;

export interface FollowOptions {
  database: Database;
  wakeUps: WakeUps;
  fetch: GuardedFetch;
  log: Logger;
  /** Who follows what: `datalake<-transfer`. Names the cursor's row. */
  name: string;
  /** `https://localhost:8446` of the other component; the stream is `<url>/.weft/events`. */
  url: string;
  types: readonly string[];
  token: () => Promise<string>;
}

/**
 * Follows another component's event stream. Each batch is handled inside a transaction that also stores the cursor, so an
 * effect happens exactly once. When the other side has no event stream (404: an original), it stops trying for a minute
 * and the caller's polling carries on alone.
 */
export type FollowEvents = <Tables = NoTables>(
  options: FollowOptions,
  handle: (tx: Tx<Tables>, events: readonly CloudEvent[]) => Promise<void>,
) => Daemon;
