import type { TokenSource } from '@weft/kernel/auth';
import type { SecretBox } from '@weft/kernel/config';
import type { Database, WakeUps } from '@weft/kernel/database';
import type { Logger } from '@weft/kernel/telemetry';
import type { OrchestratorConfig, ProviderConfig } from '../config.ts';
import type { Deployment } from '../db/schema.ts';
import type { Datalake, Site } from './peers.ts';
import type { Status, Task } from './phases.ts';
import type { SiteState } from './placement.ts';

/** Everything that the rules of this component work with; tests put fakes behind the peers. */
export interface Orchestra {
  readonly config: OrchestratorConfig;
  readonly database: Database;
  readonly wakeUps: WakeUps;
  readonly log: Logger;
  readonly tokens: TokenSource;
  readonly secrets: SecretBox;
  /** The datalake with the authority of the deployment's user. */
  datalake(deploymentId: string): Datalake;
  /** A site with the authority of the deployment's user. */
  site(provider: ProviderConfig, deploymentId: string): Site;
  /** The state of a site, asked with our own authority. */
  observe(provider: ProviderConfig): Promise<SiteState>;
  /** The deployment in the JSON of `GET /deployments/{id}`, without links, for events and callbacks. */
  describe(deployment: Deployment, shown: { status: Status; task: Task }): Record<string, unknown>;
}

export function providerNamed(config: OrchestratorConfig, name: string | null): ProviderConfig | undefined {
  return config.providers.find((provider) => provider.name === name);
}
