import { createAccountingClient } from '@weft/accounting/client';
import { startWorker } from '@weft/kernel/work';
import { findPod } from '../core/pods.ts';
import { publishUsage } from '../core/queues.ts';
import { usageRecord } from '../core/usage-record.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Sends one job record per ended job, in our own name, until accounting has taken it. */
export async function startPublishUsage(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log, tokens } = context;
  const { accounting } = context.config;
  return startWorker(
    publishUsage,
    { database, wakeUps, log, concurrency: 2, leaseSeconds: 6 },
    async (job) => {
      const site = sites.get(job.payload.site);
      const pod = await findPod(database.withTables<ComputeTables>(), job.payload);
      // Without accounting, usage stays in `compute.jobs`, unpublished.
      if (
        accounting === undefined ||
        site === undefined ||
        pod === undefined ||
        pod.job.published_at !== null
      )
        return;
      const record = usageRecord(pod, site, accounting);
      if (record === undefined) return;
      const client = createAccountingClient({
        url: accounting.url,
        fetch: context.fetch,
        token: () => tokens.own({ audience: accounting.url, scopes: ['accounting.publish'] }),
      });
      await client.publishJobRecords([record], { empaId: `compute-${site.config.name}-${pod.job.id}` });
      await database.transaction<void, ComputeTables>(async (tx) => {
        await tx
          .updateTable('compute.jobs')
          .set({ published_at: new Date() })
          .where('id', '=', pod.job.id)
          .execute();
        await job.complete(tx);
      });
    },
  );
}
