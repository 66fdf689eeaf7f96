import { describeError } from '@weft/kernel/errors';
import type { Deployment } from '../../db/schema.ts';
import { removeInputRules, removePods } from '../clean-up.ts';
import type { Orchestra } from '../orchestra.ts';
import { HAND_OVER_SECONDS, podsOf } from '../pods.ts';
import type { Outcome } from './step.ts';

/**
 * Ends the pods and drops the rules that brought the inputs; results and their rules belong to the user and stay. The row
 * goes when that is done (brief 3.1 "Delete").
 */
export async function deleting(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  try {
    const pods = await podsOf(orchestra, deployment);
    const inFlight = pods.some(
      (pod) =>
        pod.handed_over_at !== null &&
        pod.accepted_at === null &&
        Date.now() - pod.handed_over_at.getTime() < HAND_OVER_SECONDS * 1000,
    );
    await removePods(orchestra, deployment, pods);
    // A step that was overtaken may be handing a pod over in this moment; it must not be left behind.
    if (inFlight && !deployment.force) return { kind: 'wait', seconds: 1 };
    await removeInputRules(orchestra, deployment, () => true);
  } catch (error) {
    if (!deployment.force) throw error;
    orchestra.log.warn(
      { deployment: deployment.id, reason: describeError(error) },
      'leftovers of a forced deletion',
    );
  }
  return { kind: 'gone' };
}
