import { Secret, type SecretBox } from '@weft/kernel/config';
import { type CarriedVolumes, carriedVolumesSchema } from './manifest.ts';
import type { PodKey } from './pods.ts';

const sealedFor = ({ site, uid }: PodKey) => `compute.pods volumes ${site}/${uid}`;

/** Secrets come with the pod: what it carries is stored encrypted. */
export function sealVolumes(secrets: SecretBox, key: PodKey, volumes: CarriedVolumes): Buffer {
  return secrets.seal(new Secret(JSON.stringify(volumes)), sealedFor(key));
}

export function openVolumes(secrets: SecretBox, key: PodKey, sealed: Buffer): CarriedVolumes {
  return carriedVolumesSchema.parse(JSON.parse(secrets.open(sealed, sealedFor(key)).reveal()));
}
