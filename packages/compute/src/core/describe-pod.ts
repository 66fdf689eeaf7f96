import type { ContainerState, ContainerStatus, PodPhase, PodStatus } from '../client.ts';
import type { PodState } from './pod-states.ts';
import type { Pod } from './pods.ts';

type Container = Pod['containers'][number];

/** What Kubernetes calls the state of a pod (brief interlink 3.4). */
export function phaseOf(pod: Pod): PodPhase {
  switch (pod.state) {
    case 'succeeded':
      return 'Succeeded';
    case 'failed':
      return 'Failed';
    // The results are not safe before they are carried away: the pod is not done.
    case 'staging-out':
      return 'Running';
    case 'running':
      return mainContainers(pod).some(({ started_at }) => started_at !== null) ? 'Running' : 'Pending';
    case 'deleting':
    case 'deleted':
      if (pod.finished_at === null) return pod.started_at === null ? 'Pending' : 'Running';
      return failure(pod) === undefined ? 'Succeeded' : 'Failed';
    default:
      return 'Pending';
  }
}

/** A pod as `/status` and the event `pod.updated` tell it. */
export function describePod(pod: Pod): PodStatus {
  return {
    name: pod.name,
    UID: pod.uid,
    namespace: pod.namespace,
    JID: pod.job.jid ?? String(pod.job.id),
    containers: mainContainers(pod).map((container) => describeContainer(container, pod)),
    initContainers: pod.containers
      .filter(({ init }) => init)
      .map((container) => describeContainer(container, pod)),
    phase: phaseOf(pod),
    ...(pod.reason === null ? {} : { reason: pod.reason }),
    ...(pod.message === null ? {} : { message: pod.message }),
    ...(Object.keys(pod.annotations).length === 0 ? {} : { annotations: pod.annotations }),
  };
}

const mainContainers = (pod: Pod) => pod.containers.filter(({ init }) => !init);

function describeContainer(container: Container, pod: Pod): ContainerStatus {
  const state = stateOf(container, pod);
  return {
    name: container.name,
    state,
    lastState: {},
    ready:
      state.running !== undefined && pod.state === 'running'
        ? true
        : container.init && container.exit_code === 0,
    restartCount: 0,
    image: container.image,
    imageID: '',
  };
}

/** Reasons of a container that waits, by the state of its pod; the pod's own reason wins. */
const WAITING_REASONS: Readonly<Partial<Record<PodState, string>>> = {
  accepted: 'ContainerCreating',
  'staging-in': 'StagingIn',
  ready: 'Queued',
  submitting: 'ContainerCreating',
  queued: 'Queued',
  running: 'PodInitializing',
};

function stateOf(container: Container, pod: Pod): ContainerState {
  const started = container.started_at;
  if (container.finished_at !== null) {
    // The pod succeeds when its results are safe; whoever counts containers must not conclude it earlier, nor if they
    // could not be saved.
    if (pod.state === 'staging-out' && !container.init) return { running: { startedAt: time(started) } };
    const spoiled =
      pod.state === 'failed' && container.exit_code === 0 && !container.init && failure(pod) === 'pod';
    return {
      terminated: {
        exitCode: spoiled ? 1 : (container.exit_code ?? 0),
        ...(container.signal === null ? {} : { signal: container.signal }),
        reason: (spoiled ? pod.reason : container.reason) ?? 'Error',
        ...optionalMessage(
          spoiled ? `${pod.message ?? ''} (the container itself ended with 0)` : container.message,
        ),
        startedAt: time(started),
        finishedAt: time(container.finished_at),
      },
    };
  }
  if (started !== null && pod.state !== 'failed') return { running: { startedAt: time(started) } };
  if (pod.state === 'failed' && !isBehindFailedInit(container, pod)) {
    // It never ran, or nobody knows how it ended: 128 as container runtimes say of containers that cannot be started.
    return {
      terminated: {
        exitCode: started === null ? 128 : 137,
        reason: pod.reason ?? 'Error',
        ...optionalMessage(pod.message),
        startedAt: time(started),
        finishedAt: time(pod.finished_at),
      },
    };
  }
  return {
    waiting: {
      reason: pod.reason ?? WAITING_REASONS[pod.state] ?? 'PodInitializing',
      ...optionalMessage(pod.message),
    },
  };
}

/** `container` when a container failed, `pod` when something around them did, `undefined` when nothing did. */
function failure(pod: Pod): 'container' | 'pod' | undefined {
  if (pod.containers.some(({ exit_code }) => exit_code !== null && exit_code !== 0)) return 'container';
  return pod.reason !== null && pod.reason !== 'Completed' ? 'pod' : undefined;
}

/** After a failed init container the others stay waiting (brief interlink 3.4, 4). */
function isBehindFailedInit(container: Container, pod: Pod): boolean {
  const failed = pod.containers.find(({ init, exit_code }) => init && exit_code !== null && exit_code !== 0);
  return failed !== undefined && failed.position < container.position;
}

const time = (date: Date | null) => date?.toISOString() ?? null;
const optionalMessage = (message: string | null) => (message === null ? {} : { message });
