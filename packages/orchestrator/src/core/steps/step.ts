import type { Tx } from '@weft/kernel/database';
import type { Deployment, OrchestratorTables } from '../../db/schema.ts';
import type { Orchestra } from '../orchestra.ts';
import type { Phase } from '../phases.ts';

/** What a step came to. `write` commits with the outcome, or not at all. */
export type Outcome =
  | {
      readonly kind: 'move';
      readonly to: Phase;
      readonly note?: string;
      readonly changes?: DeploymentChanges;
      readonly write?: (tx: Tx<OrchestratorTables>) => Promise<void>;
    }
  | {
      readonly kind: 'wait';
      readonly seconds: number;
      readonly note?: string;
      readonly write?: (tx: Tx<OrchestratorTables>) => Promise<void>;
    }
  | { readonly kind: 'gone' };

export interface DeploymentChanges {
  readonly attempt?: number;
  readonly provider?: string;
  readonly status_reason?: string | null;
  readonly outputs?: string;
}

/**
 * One step: reads or changes the world outside, idempotently, and says what it came to; may throw `ProviderFailure`,
 * `DeploymentFailure`, or anything else, which means that the step could not be done now.
 */
export type Step = (orchestra: Orchestra, deployment: Deployment) => Promise<Outcome>;
