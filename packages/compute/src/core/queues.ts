import { defineQueue } from '@weft/kernel/work';
import { z } from 'zod';

const podKey = z.strictObject({ site: z.string(), uid: z.string() });

/** A pod was accepted: bring its data. */
export const runPods = defineQueue({ name: 'compute.run-pods', payload: podKey, maxAttempts: 1_000 });
/** A pod has a slot: hand its job to the back end. */
export const submitJobs = defineQueue({ name: 'compute.submit-jobs', payload: podKey, maxAttempts: 1_000 });
/** All containers ended with 0: carry the results away. */
export const stageOutResults = defineQueue({
  name: 'compute.stage-out',
  payload: podKey,
  maxAttempts: 1_000,
});
/** A job has ended: tell accounting. */
export const publishUsage = defineQueue({
  name: 'compute.publish-usage',
  payload: podKey,
  maxAttempts: 100_000,
});
/** A pod is to go: end its job, remove what it left. */
export const deletePods = defineQueue({ name: 'compute.delete-pods', payload: podKey, maxAttempts: 100_000 });

/** Wake-up channels of the loops. */
export const START_JOBS = 'compute.start-jobs';
export const WATCH_JOBS = 'compute.watch-jobs';
