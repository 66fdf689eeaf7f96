import { join } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import type { ContainerManifest, Manifest } from './manifest.ts';
import { parseStageIn, parseStageOut, STAGE_IN, STAGE_OUT } from './staging-annotations.ts';
import { safePath } from './volumes.ts';

/** A place of the host that a container sees. */
export interface Mount {
  readonly source: string;
  /** Absolute path in the container. */
  readonly target: string;
  readonly writable: boolean;
}

export interface MountPlan {
  readonly ofContainer: ReadonlyMap<string, readonly Mount[]>;
  /** Folders named by staging annotations: path in the container to path on the host. */
  readonly staging: ReadonlyMap<string, string>;
  /** Folders on the host that have to exist; the containers may write to the writable ones. */
  readonly folders: readonly { path: string; writable: boolean }[];
}

export const volumeFolder = (folder: string, volume: string) => join(folder, 'volumes', volume);

/**
 * Says for each container what it sees where. Staging folders are mounted into all containers, unless an `emptyDir` of
 * the pod already covers them.
 *
 * @param folder of the job, on the host
 * @throws {WeftError} `invalid`, code `mount-invalid`: a mount of a volume that the pod does not have.
 */
export function planMounts(
  manifest: Manifest,
  folder: string,
  scratch?: { folder: string; mount: string },
): MountPlan {
  const all = [...manifest.spec.initContainers, ...manifest.spec.containers];
  const writableVolumes = new Set(
    manifest.spec.volumes.filter(({ emptyDir }) => emptyDir).map(({ name }) => name),
  );
  const folders: { path: string; writable: boolean }[] = [];
  const ofContainer = new Map<string, Mount[]>(
    all.map((container) => [container.name, volumeMounts(container, manifest, folder, writableVolumes)]),
  );
  for (const mount of [...ofContainer.values()].flat()) {
    if (mount.writable) folders.push({ path: mount.source, writable: true });
  }

  const staging = new Map<string, string>();
  const annotations = manifest.metadata.annotations;
  const wanted = [
    ...parseStageIn(annotations[STAGE_IN]).map((line) => ({ target: line.folder, writable: false })),
    ...parseStageOut(annotations[STAGE_OUT]).map((line) => ({ target: line.folder, writable: true })),
  ];
  for (const { target, writable } of wanted) {
    if (staging.has(target)) continue;
    const covering = [...ofContainer.values()]
      .flat()
      .find((mount) => mount.writable && isBelow(target, mount.target));
    if (covering) {
      staging.set(target, join(covering.source, target.slice(covering.target.length)));
    } else {
      const source = join(folder, 'staged', String(staging.size));
      // A folder that is staged in and out at once belongs to the containers.
      const shared = wanted.some((other) => other.target === target && other.writable) || writable;
      staging.set(target, source);
      for (const mounts of ofContainer.values()) mounts.push({ source, target, writable: shared });
      folders.push({ path: source, writable: shared });
    }
  }
  for (const source of staging.values()) {
    if (!folders.some(({ path }) => path === source)) folders.push({ path: source, writable: true });
  }
  if (scratch) {
    for (const mounts of ofContainer.values()) {
      mounts.push({ source: scratch.folder, target: scratch.mount, writable: true });
    }
  }
  // Outer mounts first, so that an inner one is not covered by them.
  for (const mounts of ofContainer.values())
    mounts.sort((one, other) => one.target.length - other.target.length);
  return { ofContainer, staging, folders };
}

function volumeMounts(
  container: ContainerManifest,
  manifest: Manifest,
  folder: string,
  writable: Set<string>,
): Mount[] {
  return container.volumeMounts.map((mount) => {
    if (!manifest.spec.volumes.some(({ name }) => name === mount.name)) {
      throw new WeftError(
        'invalid',
        'mount-invalid',
        `The container ${container.name} mounts the volume ${mount.name}, which the pod does not have.`,
      );
    }
    const target = `/${mount.mountPath.split('/').filter(Boolean).join('/')}`;
    if (target === '/' || target.split('/').includes('..')) {
      throw new WeftError(
        'invalid',
        'mount-invalid',
        `The container ${container.name} mounts ${mount.name} on "${mount.mountPath}".`,
      );
    }
    const source = volumeFolder(folder, mount.name);
    return {
      source: mount.subPath === '' ? source : join(source, safePath(mount.subPath, mount.name)),
      target,
      writable: writable.has(mount.name) && !mount.readOnly,
    };
  });
}

/** Whether a path is a folder or lies below it. */
export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}
