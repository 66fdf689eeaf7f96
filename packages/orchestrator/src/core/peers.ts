/** What the workflow needs of others, in its own words; `peers/` speaks their protocols. */

export interface ReplicaSummary {
  readonly files: number;
  readonly bytes: number;
  /** Files and bytes by the set of RSEs that hold them, e.g. both of `OBS-DISK` and `CLOUD-DISK`. */
  readonly holdings: readonly {
    readonly rses: readonly string[];
    readonly files: number;
    readonly bytes: number;
  }[];
}

export interface NewRule {
  readonly did: string;
  readonly rseExpression: string;
  readonly copies: number;
  readonly lifetimeSeconds: number | undefined;
  /** Stands in the comment; a rule that has it is ours. */
  readonly mark: string;
}

export interface RuleState {
  readonly id: string;
  /** Rucio's: `OK`, `REPLICATING`, `STUCK`, `SUSPENDED`, `WAITING_APPROVAL`, `INJECT`. */
  readonly state: string;
  readonly locksOk: number;
  readonly locksReplicating: number;
  readonly locksStuck: number;
  readonly error: string | undefined;
}

export interface MadeRule {
  readonly id: string;
  /** It was there before. */
  readonly shared: boolean;
}

/** The datalake, as one user sees it. Errors are `WeftError`s: `not-found`, `forbidden`, `unavailable`, … */
export interface Datalake {
  /** Where the files of these DIDs (collections are expanded) have available replicas. */
  replicas(dids: readonly string[]): Promise<ReplicaSummary>;
  /** 1 is near; undefined when the datalake knows no path. */
  distance(sourceRse: string, destinationRse: string): Promise<number | undefined>;
  exists(did: string): Promise<boolean>;
  /** The rule with this mark on the DID, if there is one. */
  findRule(did: string, mark: string): Promise<RuleState | undefined>;
  /** Makes the rule, or finds the one that the user has already for the same files, place and number of copies. */
  makeRule(rule: NewRule): Promise<MadeRule>;
  /** Undefined when there is no such rule (any more). */
  rule(id: string): Promise<RuleState | undefined>;
  /** No error when it is gone already. */
  deleteRule(id: string): Promise<void>;
}

export interface PodToRun {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export interface PodOutcome {
  readonly state: 'waiting' | 'running' | 'succeeded' | 'failed';
  readonly remoteId: string | undefined;
  /** In words, when the site gives one. */
  readonly reason: string | undefined;
  readonly exitCode: number | undefined;
  /** The site lost or evicted it, or could not stage its data: nobody's program is at fault. */
  readonly isProviderFault: boolean;
}

/** One site behind the interLink API, as one user sees it. */
export interface Site {
  /** Hands a pod over; doing it again with the same uid changes nothing. */
  create(body: unknown): Promise<{ remoteId: string }>;
  /** By uid; pods that the site does not know are absent. */
  status(pods: readonly PodToRun[]): Promise<ReadonlyMap<string, PodOutcome>>;
  /** The last lines that the container wrote. */
  lastLines(pod: PodToRun, container: string, lines: number): Promise<string>;
  delete(pod: PodToRun): Promise<void>;
}
