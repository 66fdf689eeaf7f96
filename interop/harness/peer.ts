import type { Instance } from './instance.ts';
import type { Tools } from './tools.ts';

/** Counts what holds. A check that throws has failed; the run goes on. */
export interface Suite {
  readonly instance: Instance;
  readonly tools: Tools;
  /** An empty folder of this peer's own. */
  readonly folder: string;
  check(name: string, work: () => Promise<void>): Promise<void>;
  /** A part that cannot run here; a failure under `CI=true`. */
  skip(name: string, reason: string): void;
}

/** A real program that we did not write, and how it proves a component. One folder a peer, one `peer.ts` in it. */
export interface Peer {
  readonly name: string;
  /** What it proves; `npm run interop -- storage` runs every peer of storage. */
  readonly components: readonly string[];
  /** Runs after all others, because it looks at what they left. */
  readonly last?: boolean;
  /** Makes the program available. Throws `PeerUnavailable` with what was tried when it cannot be had. */
  install(tools: Tools): Promise<void>;
  /** A minute at most; runs in CI. */
  quick(suite: Suite): Promise<void>;
  /** Everything else; runs when the peer or its component is named. */
  full?(suite: Suite): Promise<void>;
}
