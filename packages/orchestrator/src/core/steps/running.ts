import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Deployment, OrchestratorTables, Pod } from '../../db/schema.ts';
import { attemptIsLate, pauseSeconds } from '../attempt-clock.ts';
import { DeploymentFailure, onProvider, ProviderFailure } from '../failures.ts';
import { type Orchestra, providerNamed } from '../orchestra.ts';
import type { PodOutcome, Site } from '../peers.ts';
import { CONTAINER } from '../pod-manifest.ts';
import { hasEnded, podsOf } from '../pods.ts';
import type { Outcome } from './step.ts';

/** Times in a row that a site may say that it does not know an accepted pod. */
const LOST_AFTER = 5;
/** Lines of a failed job's log that go into the reason, and characters of each. */
const LAST_LINES = 5;
const LONGEST_LINE = 500;

/**
 * Follows the pods of the attempt to their end. Woken by the site's events (`daemons/follow-compute.ts`); the pause is the
 * safety net.
 */
export async function running(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  const provider = providerNamed(orchestra.config, deployment.provider);
  if (provider === undefined) {
    throw new ProviderFailure('INTERNAL', `${deployment.provider ?? '?'} is no longer configured`);
  }
  const pods = await podsOf(orchestra, deployment, deployment.attempt);
  const open = pods.filter((pod) => !hasEnded(pod));
  const site = orchestra.site(provider, deployment.id);
  const outcomes =
    open.length === 0
      ? new Map<string, PodOutcome>()
      : await onProvider(provider.name, () => site.status(open));
  const unknown = open.filter((pod) => !outcomes.has(pod.uid));
  if (unknown.length > 0) {
    const message = `${provider.name} does not know ${unknown.map((pod) => pod.name).join(', ')}`;
    if (deployment.step_failures >= LOST_AFTER) throw new ProviderFailure('PROVIDER_DOWN', message);
    throw new WeftError('unavailable', 'pod-unknown', message);
  }
  await storeOutcomes(orchestra, open, outcomes);

  for (const pod of open) {
    const outcome = outcomes.get(pod.uid);
    if (outcome?.state !== 'failed') continue;
    const ending = outcome.exitCode === undefined ? 'failed' : `ended with exit code ${outcome.exitCode}`;
    const message = `${pod.job} ${ending} at ${provider.name}${outcome.reason === undefined ? '' : `: ${outcome.reason}`}`;
    if (outcome.isProviderFault) throw new ProviderFailure('PROVIDER_DOWN', message);
    throw new DeploymentFailure('USER_TEMPLATE', [message, ...(await lastWords(site, pod))].join('\n'));
  }
  const ended = new Set(
    pods
      .filter((pod) => pod.state === 'succeeded' || outcomes.get(pod.uid)?.state === 'succeeded')
      .map((pod) => pod.job),
  );
  const { jobs } = deployment.plan;
  if (jobs.every((job) => ended.has(job.name))) {
    return { kind: 'move', to: 'publishing', note: `every job has ended well at ${provider.name}` };
  }
  const begun = new Set(pods.map((pod) => pod.job));
  if (jobs.some((job) => !begun.has(job.name) && job.after.every((before) => ended.has(before)))) {
    return { kind: 'move', to: 'submitting' };
  }
  if (await attemptIsLate(orchestra, deployment)) {
    throw new ProviderFailure(
      'TIMEOUT',
      `the jobs at ${provider.name} took longer than the provider's time limit`,
    );
  }
  const changed = open.filter((pod) => pod.state !== outcomes.get(pod.uid)?.state);
  const changes = changed.map(
    (pod) => `${pod.job} ${outcomes.get(pod.uid)?.state ?? ''} at ${provider.name}`,
  );
  return {
    kind: 'wait',
    seconds: pauseSeconds(deployment, orchestra.config.jobs.poll_seconds),
    ...(changes.length === 0 ? {} : { note: changes.join(', ') }),
  };
}

/** What the program said at the end; nothing when the site cannot tell. */
async function lastWords(site: Site, pod: Pod): Promise<string[]> {
  try {
    const text = await site.lastLines(pod, CONTAINER, LAST_LINES);
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => line.slice(0, LONGEST_LINE));
  } catch (error) {
    return [`(its log cannot be read: ${describeError(error)})`];
  }
}

async function storeOutcomes(
  { database }: Orchestra,
  pods: readonly Pod[],
  outcomes: ReadonlyMap<string, PodOutcome>,
): Promise<void> {
  await database.transaction(async (tx: Tx<OrchestratorTables>) => {
    for (const pod of pods) {
      const outcome = outcomes.get(pod.uid);
      if (outcome === undefined || (outcome.state === pod.state && (outcome.reason ?? null) === pod.reason))
        continue;
      await tx
        .updateTable('orchestrator.pods')
        .set({
          state: outcome.state,
          reason: outcome.reason ?? null,
          exit_code: outcome.exitCode ?? null,
          remote_id: outcome.remoteId ?? pod.remote_id,
        })
        .where('uid', '=', pod.uid)
        .execute();
    }
  });
}
