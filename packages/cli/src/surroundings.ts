import type { DataFolder } from './data-folder.ts';
import type { Endpoints } from './endpoints.ts';
import type { Ports } from './ports.ts';

/** Everything that a section may need to know about the instance. */
export interface Surroundings {
  readonly folder: DataFolder;
  readonly ports: Ports;
  readonly endpoints: Endpoints;
  /** `sub` of a user of the embedded issuer: a UUID that is this instance's own. */
  subjectOf(username: string): string;
  secretFileOf(client: string): string;
  readonly cliKey: Record<string, unknown>;
}
