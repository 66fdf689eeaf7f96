import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { WITH_JOB } from '../core/pod-states.ts';
import { loadPods } from '../core/pods.ts';
import { jobReference } from '../core/prepare-job.ts';
import { WATCH_JOBS } from '../core/queues.ts';
import { recordObservations } from '../core/record-observations.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites, type Site } from '../sites.ts';

/** The safety net behind the shims' notices, and the pace at which batch systems are asked. */
const POLL_SECONDS = 2;

/** Follows the jobs of all sites and takes into the books what became of them. */
export async function startWatchJobs(context: ComputeContext): Promise<Daemon> {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  const loop = startLoop(
    { database, wakeUps, log, name: WATCH_JOBS, everySeconds: POLL_SECONDS },
    async () => {
      for (const site of sites.values()) await look(context, site);
      return 'idle';
    },
  );
  const watchers = [...sites.values()].map((site) => watchNotices(site, loop.nudge));
  return {
    nudge: loop.nudge,
    async stop() {
      for (const watcher of watchers) watcher.close();
      await loop.stop();
    },
  };
}

/** Shims touch one file per site when something has changed. */
function watchNotices(site: Site, nudge: () => void): FSWatcher {
  const notice = basename(site.noticeFile);
  return watch(site.workFolder, { persistent: false }, (_event, file) => {
    if (file === notice) nudge();
  });
}

async function look(context: ComputeContext, site: Site): Promise<void> {
  const { database, wakeUps } = context;
  const { name } = site.config;
  const tables = database.withTables<ComputeTables>();
  const pods = await loadPods(tables, { site: name, states: WITH_JOB });
  if (pods.length === 0) return;
  const observations = await site.backEnd.inspect(pods.map((pod) => jobReference(site, pod)));
  await database.transaction<void, ComputeTables>(async (tx) => {
    // Others may be looking at the same jobs: each change is recorded, and told, by one of us.
    const locked = await tx
      .selectFrom('compute.pods')
      .select('uid')
      .where('site', '=', name)
      .where(
        'uid',
        'in',
        pods.map(({ uid }) => uid),
      )
      .where('state', 'in', WITH_JOB)
      .orderBy('uid')
      .forUpdate()
      .skipLocked()
      .execute();
    const current = await loadPods(tx, { site: name, uids: locked.map(({ uid }) => uid) });
    await recordObservations(tx, wakeUps, name, current, observations);
  });
}
