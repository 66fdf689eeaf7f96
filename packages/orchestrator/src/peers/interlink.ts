import {
  ComputeRequestError,
  type ContainerState,
  createComputeClient,
  type PodCreateRequests,
  type PodStatus,
} from '@weft/compute/client';
import { WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import { ZodError } from 'zod';
import type { PodOutcome, PodToRun, Site } from '../core/peers.ts';
import type { SiteState } from '../core/placement.ts';
import { failureOf, unreachable } from './http-failure.ts';

export interface InterlinkOptions {
  readonly name: string;
  readonly url: string;
  readonly fetch: GuardedFetch;
  readonly token: () => Promise<string>;
  /** Of one request. */
  readonly timeoutMilliseconds?: number;
}

/** A site behind the interLink API, as the workflow sees it. */
export function interlinkSite(options: InterlinkOptions): Site {
  const client = clientOf(options);
  return {
    create: async (body) => {
      const answer = await guarded(options.name, () => client.create(body as PodCreateRequests));
      return { remoteId: answer.PodJID };
    },
    status: async (pods) => {
      const statuses = await guarded(options.name, () => client.status(pods.map(referenceTo)));
      const wanted = new Set(pods.map((pod) => pod.uid));
      return new Map(
        statuses.filter(({ UID }) => wanted.has(UID)).map((status) => [status.UID, outcomeOf(status)]),
      );
    },
    lastLines: async (pod, container, lines) => {
      const log = {
        namespace: pod.namespace,
        podName: pod.name,
        podUid: pod.uid,
        container,
        tailLines: lines,
      };
      return await guarded(options.name, async () => await new Response(await client.logs(log)).text());
    },
    delete: async (pod) => {
      await guarded(options.name, () => client.delete(referenceTo(pod)));
    },
  };
}

/**
 * The state of a site. An original interLink API has no such page: one that answers `/pinglink` counts as alive, with an
 * unknown number of slots.
 */
export async function observeInterlink(options: InterlinkOptions): Promise<SiteState> {
  const client = clientOf(options);
  return await guarded(options.name, async () => {
    try {
      const { drained, slots, running, queued } = await client.siteState();
      return { drained, slots, running, queued };
    } catch (error) {
      const isOriginal = error instanceof ComputeRequestError && error.status === 404;
      if (!isOriginal) throw error;
      const answer = await options.fetch(`${options.url}/pinglink`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await options.token()}` },
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new ComputeRequestError('POST /pinglink', answer.status, '');
      return { drained: false, slots: undefined, running: 0, queued: 0 };
    }
  });
}

function clientOf({ url, fetch, token, timeoutMilliseconds }: InterlinkOptions) {
  const limited: GuardedFetch = (input, init) =>
    fetch(input, { ...(timeoutMilliseconds === undefined ? {} : { timeoutMilliseconds }), ...init });
  return createComputeClient({ url, fetch: limited, token });
}

async function guarded<Result>(name: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ComputeRequestError)
      throw failureOf(name, error.status, 'interlink-refused', error.message);
    if (error instanceof ZodError)
      throw new WeftError('upstream', 'interlink-answer', `${name}: unusable answer`, { cause: error });
    throw unreachable(name, error);
  }
}

function referenceTo({ uid, name, namespace }: PodToRun) {
  return { metadata: { uid, name, namespace } };
}

/** Reasons (brief interlink 3.4) that are the site's fault, not the program's. */
const PROVIDER_REASONS: ReadonlySet<string> = new Set([
  'JobLost',
  'NodeLost',
  'Evicted',
  'Preempted',
  'SubmitFailed',
  'StageInFailed',
  'StageOutFailed',
]);

/** The sum of a pod's containers; `phase` and `reason` are additions that an original interLink does not send. */
export function outcomeOf(status: PodStatus): PodOutcome {
  const ended = status.containers.flatMap(({ state }) => state.terminated ?? []);
  const bad = [...status.initContainers, ...status.containers].flatMap(({ state }) =>
    state.terminated !== undefined && state.terminated.exitCode !== 0 ? [state.terminated] : [],
  )[0];
  const state = stateOf(status, ended.length, bad !== undefined);
  const reason = [status.reason ?? bad?.reason ?? waitingReason(status), status.message ?? bad?.message]
    .filter((text) => text !== undefined && text !== '' && text !== 'Completed')
    .join(': ');
  const exitCode = bad?.exitCode ?? (state === 'succeeded' ? 0 : undefined);
  return {
    state,
    remoteId: status.JID === '' ? undefined : status.JID,
    reason: reason === '' ? undefined : reason,
    exitCode,
    isProviderFault: state === 'failed' && PROVIDER_REASONS.has(status.reason ?? bad?.reason ?? ''),
  };
}

function stateOf(status: PodStatus, ended: number, isBad: boolean): PodOutcome['state'] {
  switch (status.phase) {
    case 'Succeeded':
      return 'succeeded';
    case 'Failed':
      return 'failed';
    case 'Running':
      return 'running';
    case 'Pending':
      return 'waiting';
    default:
      if (status.containers.length > 0 && ended === status.containers.length)
        return isBad ? 'failed' : 'succeeded';
      return status.containers.some(({ state }) => isRunning(state)) ? 'running' : 'waiting';
  }
}

function isRunning(state: ContainerState): boolean {
  return state.running !== undefined;
}

function waitingReason(status: PodStatus): string | undefined {
  const waiting = status.containers.flatMap(({ state }) => state.waiting ?? [])[0];
  return waiting === undefined ? undefined : [waiting.reason, waiting.message].filter(Boolean).join(': ');
}
