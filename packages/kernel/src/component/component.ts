import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import type { TokenSource, TokenVerifier } from '../auth/index.ts';
import type { SecretBox } from '../config/index.ts';
import type { Database, WakeUps } from '../database/index.ts';
import type { EventVisibility } from '../events/index.ts';
import type { GuardedFetch, ListenerOptions, OutgoingRules } from '../http/index.ts';
import type { Siblings } from '../processes/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import type { ComponentName } from './component-name.ts';
import type { Daemon } from './daemon.ts';

/** What a component is given; everything it may touch outside itself comes through here. */
export interface ComponentContext<Config> {
  /** Parsed configuration of this component. */
  readonly config: Config;
  /** PostgreSQL; the component's tables live in the schema of its name. Write `datalake.rules`, not `rules`. */
  readonly database: Database;
  /** Hints that wake claimants, in this process and in others. */
  readonly wakeUps: WakeUps;
  /** Checks bearer tokens against the configured issuers (brief alise-aai 3.1). */
  readonly verifier: TokenVerifier;
  /** Tokens for calls to other components: own client credentials, or a user's token exchanged. */
  readonly tokens: TokenSource;
  /** Outgoing HTTP: trusts the local CA, refuses private addresses that are not on the allow-list. */
  readonly fetch: GuardedFetch;
  /** The rules of `fetch` for connections that a component opens itself, because `fetch` cannot do what they are for. */
  readonly outgoing: OutgoingRules;
  /** Encrypts credentials that must be kept (delegated tokens, refresh tokens). */
  readonly secrets: SecretBox;
  /** Processes that serve the same ports; usually this one alone. */
  readonly siblings: Siblings;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Folder for files of this component (made, 0700). Durable state belongs into the database. */
  readonly dataFolder: string;
}

export interface DaemonDefinition<Config> {
  /** A verb: `submit-transfers`, `evaluate-rules`. */
  readonly name: string;
  /** Which process runs it. `services` unless said otherwise; `mover` is the data path of `transfer`. */
  readonly role?: 'services' | 'mover';
  start(context: ComponentContext<Config>): Daemon | Promise<Daemon>;
}

/** One HTTPS listener of a component, with its routes in the protocol's dialect. */
export interface ListenerDefinition {
  /** `api`, `monitor`, `interlink-hpc`, … unique in the component. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The address that others use, without a trailing slash: `https://127.0.0.11:8081`. */
  readonly url: string;
  /** Who may see which event on this listener's `/.weft/events`; without it the endpoint answers 404. */
  readonly events?: EventVisibility;
  readonly options?: ListenerOptions;
  routes(app: FastifyInstance): void | Promise<void>;
}

/** A component: what `packages/<component>/src/index.ts` exports. */
export interface Component<Schema extends z.ZodType = z.ZodType> {
  readonly name: ComponentName;
  readonly config: Schema;
  /** Folder of numbered, forward-only `NNNN-name.sql` files; they create and alter the schema of the component's name. */
  readonly migrations: string;
  /** Runs once per process after migrations, before listeners: idempotent provisioning from the configuration. */
  prepare?(context: ComponentContext<z.output<Schema>>): Promise<void>;
  listeners(
    context: ComponentContext<z.output<Schema>>,
  ): ListenerDefinition[] | Promise<ListenerDefinition[]>;
  readonly daemons: readonly DaemonDefinition<z.output<Schema>>[];
}

/** Identity function that lets TypeScript infer the configuration type of a component. */
export function defineComponent<Schema extends z.ZodType>(component: Component<Schema>): Component<Schema> {
  return component;
}
