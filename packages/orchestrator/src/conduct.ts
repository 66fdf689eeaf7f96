import type { ComponentContext } from '@weft/kernel/component';
import { WeftError } from '@weft/kernel/errors';
import { describeDeployment } from './api/deployment-resource.ts';
import type { OrchestratorConfig } from './config.ts';
import { tokenOf } from './core/delegations.ts';
import type { Orchestra } from './core/orchestra.ts';
import { interlinkSite, observeInterlink } from './peers/interlink.ts';
import { rucioDatalake } from './peers/rucio.ts';

/** Puts the rules of `core/` together with the protocols of `peers/`. */
export function conduct(context: ComponentContext<OrchestratorConfig>): Orchestra {
  const { config, database, wakeUps, log, tokens, secrets, fetch } = context;
  const orchestra: Orchestra = {
    config,
    database,
    wakeUps,
    log,
    tokens,
    secrets,
    datalake: (deploymentId) => {
      const { datalake } = config;
      if (datalake === undefined) throw new WeftError('invalid', 'no-datalake', 'No datalake is configured.');
      const token = async () => await tokenOf(orchestra, deploymentId, datalake.url);
      return rucioDatalake({ url: datalake.url, fetch, token });
    },
    site: ({ name, url }, deploymentId) => {
      const token = async () => await tokenOf(orchestra, deploymentId, url);
      return interlinkSite({ name, url, fetch, token });
    },
    observe: async ({ name, url }) => {
      const token = async () => await tokens.own({ audience: url, scopes: ['compute.read'] });
      const timeoutMilliseconds = config.placement.site_timeout_seconds * 1000;
      return await observeInterlink({ name, url, fetch, token, timeoutMilliseconds });
    },
    describe: (deployment, shown) => describeDeployment(config, deployment, shown),
  };
  return orchestra;
}
