import type { Principal } from '@weft/kernel/auth';
import type { Tx, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { enqueue } from '@weft/kernel/work';
import type { SiteConfig } from '../config.ts';
import type { ComputeTables } from '../db/schema.ts';
import { resolveEnvironment } from './environment.ts';
import { commandOf, findImage } from './images.ts';
import type { CarriedVolumes, ContainerManifest, Manifest } from './manifest.ts';
import { planMounts } from './mounts.ts';
import { announcePods } from './move-pods.ts';
import { findPod, type Pod } from './pods.ts';
import { memoryLimit, resourcesOf } from './quantities.ts';
import { runPods } from './queues.ts';
import { planVolumes } from './volumes.ts';

export interface Admission {
  readonly manifest: Manifest;
  /** As it came. */
  readonly pod: unknown;
  readonly volumesSealed: Buffer;
  readonly owner: Pick<Principal, 'issuer' | 'subject' | 'groups'>;
  /** Refresh token for calls in the owner's name, when the pod stages data. */
  readonly delegationSealed: Buffer | undefined;
}

/**
 * Refuses a pod that could never run at the site, while the caller still listens: unknown image, volume of a kind that is
 * not offered, a reference into nothing, rights that nobody gets here.
 *
 * @throws {WeftError} `invalid`, `unsupported` or `forbidden`, naming what to change.
 */
export function checkPod(site: SiteConfig, manifest: Manifest, volumes: CarriedVolumes): void {
  const containers = [...manifest.spec.initContainers, ...manifest.spec.containers];
  const names = containers.map(({ name }) => name);
  if (new Set(names).size !== names.length) {
    throw new WeftError('invalid', 'pod-invalid', 'The pod has two containers of the same name.');
  }
  for (const container of containers) {
    refusePrivileges(container, manifest);
    const environment = resolveEnvironment(container, manifest, volumes, {});
    commandOf(container, findImage(site, container.image), environment);
    memoryLimit(container);
  }
  resourcesOf(manifest);
  planVolumes(manifest, volumes);
  planMounts(manifest, '/', site.scratch);
}

function refusePrivileges(container: ContainerManifest, manifest: Manifest): void {
  if (container.securityContext.privileged) {
    throw new WeftError(
      'forbidden',
      'privileged',
      `The container ${container.name} asks to be privileged; sites do not allow it.`,
    );
  }
  if ((container.securityContext.runAsUser ?? manifest.spec.securityContext.runAsUser) === 0) {
    throw new WeftError(
      'forbidden',
      'run-as-root',
      `The container ${container.name} asks to run as root; jobs never do.`,
    );
  }
}

/**
 * Stores a pod, unless it is known already: the caller may ask as often as it likes and gets the same pod. From here on
 * nothing that happens to us makes it forgotten.
 *
 * @throws {WeftError} `unavailable`, code `site-drained`; `conflict`, code `pod-exists`, for another caller's pod or one
 *   that was deleted.
 */
export async function admitPod(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: SiteConfig,
  admission: Admission,
): Promise<Pod> {
  const { manifest, owner } = admission;
  const { uid, name, namespace } = manifest.metadata;
  // Held until the commit: a site that is drained meanwhile waits for us, and has this pod in its count.
  const state = await tx
    .selectFrom('compute.sites')
    .selectAll()
    .where('name', '=', site.name)
    .forShare()
    .executeTakeFirst();
  const known = await findPod(tx, { site: site.name, uid });
  if (known) return requireSame(known, owner);
  if (state?.drained) {
    const reason = state.drained_reason === null ? '' : `: ${state.drained_reason}`;
    throw new WeftError(
      'unavailable',
      'site-drained',
      `Site ${site.name} is drained and takes no new pods${reason}.`,
    );
  }

  const inserted = await tx
    .insertInto('compute.pods')
    .values({
      site: site.name,
      uid,
      namespace,
      name,
      state: 'accepted',
      manifest: JSON.stringify(admission.pod),
      volumes_sealed: admission.volumesSealed,
      owner_issuer: owner.issuer,
      owner_subject: owner.subject,
      owner_groups: [...owner.groups],
      delegation_sealed: admission.delegationSealed ?? null,
    })
    .onConflict((conflict) => conflict.columns(['site', 'uid']).doNothing())
    .returning('uid')
    .execute();
  if (inserted.length > 0) {
    await tx.insertInto('compute.jobs').values({ site: site.name, pod_uid: uid }).execute();
    const { initContainers, containers } = manifest.spec;
    await tx
      .insertInto('compute.containers')
      .values(
        [...initContainers, ...containers].map((container, position) => ({
          site: site.name,
          pod_uid: uid,
          name: container.name,
          init: position < initContainers.length,
          position,
          image: container.image,
        })),
      )
      .execute();
    await enqueue(tx, wakeUps, runPods, [{ payload: { site: site.name, uid }, key: `${site.name}/${uid}` }]);
    await announcePods(tx, wakeUps, site.name, [uid]);
  }
  const pod = await findPod(tx, { site: site.name, uid });
  if (pod === undefined)
    throw new WeftError('conflict', 'pod-exists', `The pod ${uid} is being created by another request.`);
  return requireSame(pod, owner);
}

function requireSame(pod: Pod, owner: Admission['owner']): Pod {
  if (pod.owner_issuer !== owner.issuer || pod.owner_subject !== owner.subject) {
    throw new WeftError(
      'conflict',
      'pod-exists',
      `A pod with the UID ${pod.uid} exists and belongs to somebody else.`,
    );
  }
  if (pod.state === 'deleting' || pod.state === 'deleted') {
    throw new WeftError('conflict', 'pod-deleted', `The pod ${pod.uid} was deleted; a UID is used once.`);
  }
  return pod;
}
