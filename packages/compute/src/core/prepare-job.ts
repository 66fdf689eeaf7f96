import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import type { JobReference, PreparedContainer, PreparedJob } from '../backends/back-end.ts';
import type { Account } from '../shim/job-file.ts';
import { type ComputeContext, jobFolder, type Site } from '../sites.ts';
import { openVolumes } from './carried-volumes.ts';
import { resolveEnvironment } from './environment.ts';
import { commandOf, findImage } from './images.ts';
import { type ContainerManifest, graceSeconds, type Manifest, parseManifest } from './manifest.ts';
import { type MountPlan, planMounts, volumeFolder } from './mounts.ts';
import type { Pod } from './pods.ts';
import { memoryLimit, resourcesOf } from './quantities.ts';
import { planVolumes } from './volumes.ts';

/** Docker's default search path; `builtin:node` has Node.js in its first but one entry. */
const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface LocalPod {
  readonly manifest: Manifest;
  readonly folder: string;
  readonly mounts: MountPlan;
}

/** How the back end of a site finds the job of a pod. */
export function jobReference(site: Site, pod: Pod): JobReference {
  const { job, uid } = pod;
  return {
    id: String(job.id),
    token: job.token,
    folder: jobFolder(site, uid, job.attempt),
    handle: job.handle,
    uid,
  };
}

/** Where a pod's things lie on this site. */
export function placePod(site: Site, pod: Pod): LocalPod {
  const manifest = parseManifest(pod.manifest);
  const folder = jobFolder(site, pod.uid, pod.job.attempt);
  return { manifest, folder, mounts: planMounts(manifest, folder, site.config.scratch) };
}

/** Makes the folders that a pod's staging and volumes need. May be repeated. */
export async function makeFolders(site: Site, { folder, mounts }: LocalPod): Promise<void> {
  await mkdir(join(folder, 'volumes'), { recursive: true, mode: 0o711 });
  for (const { path, writable } of mounts.folders)
    await makeFolder(path, writable ? site.account : undefined);
}

/**
 * Writes the pod's volumes and says what is to run. May be repeated, as long as the job has not begun.
 *
 * @throws {WeftError} `invalid` or `unsupported`: the configuration of the site has changed since the pod was admitted.
 */
export async function prepareJob(context: ComputeContext, site: Site, pod: Pod): Promise<PreparedJob> {
  const local = placePod(site, pod);
  const { manifest, folder } = local;
  if (pod.volumes_sealed === null)
    throw new WeftError('conflict', 'pod-deleted', `The pod ${pod.uid} was deleted.`);
  const volumes = openVolumes(context.secrets, pod, pod.volumes_sealed);
  await makeFolders(site, local);
  for (const plan of planVolumes(manifest, volumes)) {
    const target = volumeFolder(folder, plan.name);
    await makeFolder(target, plan.files === undefined ? site.account : undefined);
    for (const file of plan.files ?? []) {
      const path = join(target, file.path);
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await writeFile(path, Buffer.from(file.base64, 'base64'));
      await chmod(path, file.mode & 0o777);
      if (site.account) await chown(path, site.account.uid, site.account.gid);
    }
  }

  const prepare = (container: ContainerManifest): PreparedContainer => {
    const image = findImage(site.config, container.image);
    const environment = resolveEnvironment(container, manifest, volumes, {
      PATH: IMAGE_PATH,
      HOME: '/tmp',
      HOSTNAME: pod.name,
      WEFT_JOB_ID: String(pod.job.id),
      WEFT_SITE: site.config.name,
    });
    return {
      name: container.name,
      image,
      command: commandOf(container, image, environment),
      environment,
      workingDirectory: container.workingDir === '' ? '/' : container.workingDir,
      mounts: local.mounts.ofContainer.get(container.name) ?? [],
      memoryLimitBytes: memoryLimit(container),
    };
  };
  return {
    id: String(pod.job.id),
    token: pod.job.token,
    folder,
    uid: pod.uid,
    site: site.config.name,
    namespace: pod.namespace,
    name: pod.name,
    initContainers: manifest.spec.initContainers.map(prepare),
    containers: manifest.spec.containers.map(prepare),
    resources: resourcesOf(manifest),
    graceSeconds: graceSeconds(manifest),
    deadlineSeconds: manifest.spec.activeDeadlineSeconds ?? undefined,
  };
}

/** A folder of the job's account may be written by it alone; the others are ours and open to be read. */
async function makeFolder(path: string, owner: Account | undefined): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o755 });
  if (owner) await chown(path, owner.uid, owner.gid);
}
