import type { ContainerRun } from '../../shim/job-file.ts';
import type { PreparedContainer } from '../back-end.ts';

/** Turns a container into something to spawn that sees what it may see and nothing else. */
export interface Confinement {
  readonly name: ConfinementName;
  confine(container: PreparedContainer, pod: ConfinedPod): ConfinedRun;
}

export type ConfinementName = 'bubblewrap' | 'namespaces' | 'none';

export interface ConfinedPod {
  /** Becomes the host name. */
  readonly name: string;
  /** Our Node.js, for `builtin:node`. */
  readonly nodeBinary: string;
  readonly network: 'host' | 'none';
}

export interface ConfinedRun {
  readonly run: Omit<ContainerRun, 'argumentsFile'>;
  /** Content of the file that the program reads as descriptor 3, if it needs one. May hold secrets. */
  readonly argumentsFile?: string;
}
