import { createHash } from 'node:crypto';
import type { JobPlan } from './plan.ts';

export interface PodPlacement {
  readonly deploymentId: string;
  readonly attempt: number;
  readonly namespace: string;
  readonly node: string;
  readonly rse: string | undefined;
}

/**
 * The pod's identity follows from deployment, attempt and job: handing it over again after a crash is the same pod, a new
 * attempt is another one. A UUID of version 8 (RFC 9562): 122 bits of SHA-256.
 */
export function podUid(deploymentId: string, attempt: number, job: string): string {
  const bytes = createHash('sha256').update(`${deploymentId}/${attempt}/${job}`).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** A DNS label (RFC 1123) out of any text: groups become namespaces (brief 8.28), jobs become names. */
export function dnsLabel(text: string, fallback: string): string {
  const label = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  return label === '' ? fallback : label;
}

/** `update-3f2a9c1e`, with `-2` behind it on the second attempt. */
export function podName(job: string, deploymentId: string, attempt: number): string {
  const name = `${dnsLabel(job, 'job')}-${deploymentId.slice(0, 8)}`;
  return attempt > 1 ? `${name}-${attempt}` : name;
}

/** Name of the only container of a job's pod. */
export const CONTAINER = 'job';

/** The body of interLink's `POST /create`: the pod, and the job's files as a ConfigMap (docs/seams.md, "Pod annotations"). */
export function createRequest(job: JobPlan, placement: PodPlacement) {
  const { deploymentId, attempt, namespace } = placement;
  const name = podName(job.name, deploymentId, attempt);
  const uid = podUid(deploymentId, attempt, job.name);
  const configMap = `${name}-files`;
  const files = Object.entries(job.files).map(([path, content], index) => ({
    key: `file-${index}`,
    path,
    content,
  }));
  const folders = [...new Set(files.map(({ path }) => folderOf(path)))];
  const quantities = { cpu: String(job.cpus), memory: `${Math.ceil(job.memoryBytes / 2 ** 20)}Mi` };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid,
      annotations: {
        ...stageIn(job),
        ...stageOut(job, placement.rse),
        'orchestrator.dte/deployment': deploymentId,
        'orchestrator.dte/attempt': String(attempt),
      },
      labels: { 'app.kubernetes.io/managed-by': 'weft-orchestrator' },
    },
    spec: {
      restartPolicy: 'Never',
      nodeName: placement.node,
      nodeSelector: { 'kubernetes.io/hostname': placement.node },
      tolerations: [{ key: 'virtual-node.interlink/no-schedule', operator: 'Exists' }],
      activeDeadlineSeconds: Math.ceil(job.wallSeconds),
      containers: [
        {
          name: CONTAINER,
          image: job.image,
          command: job.command,
          args: job.arguments,
          env: Object.entries({ WEFT_POD_UID: uid, ...job.environment }).map(([key, value]) => ({
            name: key,
            value,
          })),
          resources: { requests: quantities, limits: quantities },
          volumeMounts: folders.map((folder, index) => ({
            name: `files-${index}`,
            mountPath: folder,
            readOnly: true,
          })),
        },
      ],
      volumes: folders.map((folder, index) => ({
        name: `files-${index}`,
        configMap: {
          name: configMap,
          defaultMode: 0o644,
          items: files
            .filter(({ path }) => folderOf(path) === folder)
            .map(({ key, path }) => ({ key, path: path.slice(path.lastIndexOf('/') + 1) })),
        },
      })),
    },
  };
  const data = Object.fromEntries(files.map(({ key, content }) => [key, content]));
  return {
    pod,
    configmaps: files.length === 0 ? [] : [{ metadata: { name: configMap, namespace }, data }],
    secrets: [],
    projectedvolumesmaps: [],
    jobscriptURL: '',
  };
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

function stageIn(job: JobPlan): Record<string, string> {
  if (job.inputs.length === 0) return {};
  return { 'datalake.dte/stage-in': job.inputs.map(({ did, path }) => `${did} -> ${path}`).join('\n') };
}

function stageOut(job: JobPlan, rse: string | undefined): Record<string, string> {
  if (job.outputs.length === 0 || rse === undefined) return {};
  return {
    'datalake.dte/stage-out': job.outputs
      .map(({ pattern, dataset }) => `${pattern} -> ${dataset} @ ${rse}`)
      .join('\n'),
  };
}
