import { fileURLToPath } from 'node:url';
import { defineComponent } from '@weft/kernel/component';
import { interlinkListener } from './api/listener.ts';
import { configSchema } from './config.ts';
import { startDeletePods } from './daemons/delete-pods.ts';
import { startPublishUsage } from './daemons/publish-usage.ts';
import { startRunPods } from './daemons/run-pods.ts';
import { startStageOut } from './daemons/stage-out.ts';
import { startStartJobs } from './daemons/start-jobs.ts';
import { startSubmitJobs } from './daemons/submit-jobs.ts';
import { startWatchJobs } from './daemons/watch-jobs.ts';
import type { ComputeTables } from './db/schema.ts';
import { openSites } from './sites.ts';

/** Federated compute: one interLink API a site, pods in PostgreSQL, jobs in the site's best back end. */
export const compute = defineComponent({
  name: 'compute',
  config: configSchema,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),

  async prepare(context) {
    await openSites(context);
    if (context.config.sites.length === 0) return;
    await context.database
      .withTables<ComputeTables>()
      .insertInto('compute.sites')
      .values(context.config.sites.map(({ name, drained }) => ({ name, drained })))
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
  },

  async listeners(context) {
    const sites = await openSites(context);
    return [...sites.values()].map((site) => interlinkListener(context, site));
  },

  daemons: [
    { name: 'run-pods', start: startRunPods },
    { name: 'start-jobs', start: startStartJobs },
    { name: 'submit-jobs', start: startSubmitJobs },
    { name: 'watch-jobs', start: startWatchJobs },
    { name: 'stage-out', start: startStageOut },
    { name: 'delete-pods', start: startDeletePods },
    { name: 'publish-usage', start: startPublishUsage },
  ],
});

export default compute;
