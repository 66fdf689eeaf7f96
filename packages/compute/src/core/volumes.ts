import { WeftError } from '@weft/kernel/errors';
import type { CarriedVolumes, Manifest, VolumeManifest } from './manifest.ts';

/** A volume as it will lie on disk. */
export interface VolumePlan {
  readonly name: string;
  /** `undefined`: an empty folder that the containers may write to. */
  readonly files: readonly VolumeFile[] | undefined;
}

export interface VolumeFile {
  /** Below the volume's folder, without `.` and `..`. */
  readonly path: string;
  readonly base64: string;
  readonly mode: number;
}

const DEFAULT_MODE = 0o644;
/** Keys of ConfigMaps and Secrets (Kubernetes' IsConfigMapKey); the files that a projection names may lie in folders. */
const KEY = /^[-._a-zA-Z0-9]{1,253}$/;

/**
 * Turns a pod's volumes into files, byte for byte (brief interlink 1.2 "projected volumes"), honouring `items`, modes and
 * `optional`.
 *
 * @throws {WeftError} `unsupported`, code `volume-unsupported`: a kind that the site does not offer; `invalid`, code
 *   `volume-invalid`: something missing, or a path that leaves the volume.
 */
export function planVolumes(manifest: Manifest, carried: CarriedVolumes): VolumePlan[] {
  return manifest.spec.volumes.map((volume) => ({ name: volume.name, files: filesOf(volume, carried) }));
}

function filesOf(volume: VolumeManifest, carried: CarriedVolumes): VolumeFile[] | undefined {
  if (volume.emptyDir) return undefined;
  if (volume.configMap) {
    return select(
      volume,
      volume.configMap,
      carried.configMaps[volume.configMap.name],
      `ConfigMap ${volume.configMap.name}`,
    );
  }
  if (volume.secret) {
    return select(
      volume,
      volume.secret,
      carried.secrets[volume.secret.secretName],
      `Secret ${volume.secret.secretName}`,
    );
  }
  if (volume.projected || volume.downwardAPI) {
    const mode = volume.projected?.defaultMode ?? volume.downwardAPI?.defaultMode ?? DEFAULT_MODE;
    return Object.entries(carried.projected[volume.name] ?? {}).map(([path, base64]) => ({
      path: safePath(path, volume.name),
      base64,
      mode,
    }));
  }
  const kind = volume.hostPath
    ? 'hostPath'
    : volume.persistentVolumeClaim
      ? 'persistentVolumeClaim'
      : 'of this kind';
  throw new WeftError(
    'unsupported',
    'volume-unsupported',
    `The volume ${volume.name} is ${kind}, which this site does not offer; it offers configMap, secret, projected, downwardAPI and emptyDir.`,
  );
}

interface KeyedSource {
  items: readonly { key: string; path: string; mode?: number | null | undefined }[];
  defaultMode?: number | null | undefined;
  optional: boolean;
}

function select(
  volume: VolumeManifest,
  source: KeyedSource,
  entries: Readonly<Record<string, string>> | undefined,
  what: string,
): VolumeFile[] {
  if (entries === undefined) {
    if (source.optional) return [];
    throw new WeftError(
      'invalid',
      'volume-invalid',
      `The volume ${volume.name} needs the ${what}, which did not come with the pod.`,
    );
  }
  const mode = source.defaultMode ?? DEFAULT_MODE;
  if (source.items.length === 0) {
    return Object.entries(entries).map(([key, base64]) => {
      if (!KEY.test(key) || key === '.' || key === '..') {
        throw new WeftError(
          'invalid',
          'volume-invalid',
          `The ${what} has the key "${key}", which cannot be a file.`,
        );
      }
      return { path: key, base64, mode };
    });
  }
  return source.items.flatMap((item) => {
    const base64 = entries[item.key];
    if (base64 !== undefined)
      return [{ path: safePath(item.path, volume.name), base64, mode: item.mode ?? mode }];
    if (source.optional) return [];
    throw new WeftError(
      'invalid',
      'volume-invalid',
      `The ${what} has no key ${item.key}, which the volume ${volume.name} asks for.`,
    );
  });
}

/** A relative path that stays below its folder. @throws {WeftError} `invalid`, code `volume-invalid`. */
export function safePath(path: string, volume: string): string {
  const segments = path.split('/').filter((segment) => segment !== '');
  if (
    path.startsWith('/') ||
    path.includes('\0') ||
    segments.length === 0 ||
    segments.includes('..') ||
    segments.includes('.')
  ) {
    throw new WeftError(
      'invalid',
      'volume-invalid',
      `The volume ${volume} has the path "${path}", which leaves it.`,
    );
  }
  return segments.join('/');
}
