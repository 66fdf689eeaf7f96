import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';

/** Go sends `null` for what is empty (brief interlink 2.0). */
const list = <Item extends z.ZodType>(item: Item) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);
const map = z
  .record(z.string(), z.string())
  .nullish()
  .transform((entries) => entries ?? {});
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Pod names may hold dots (RFC 1123 subdomain). */
const DNS_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
export const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const keyReference = z.object({ name: text, key: z.string(), optional: flag });

const environmentVariable = z.object({
  name: z.string().min(1),
  value: z.string().nullish(),
  valueFrom: z
    .object({
      configMapKeyRef: keyReference.nullish(),
      secretKeyRef: keyReference.nullish(),
      fieldRef: z.object({ fieldPath: z.string() }).nullish(),
      resourceFieldRef: z.object({ resource: z.string() }).nullish(),
    })
    .nullish(),
});

const environmentSource = z.object({
  prefix: text,
  configMapRef: z.object({ name: text, optional: flag }).nullish(),
  secretRef: z.object({ name: text, optional: flag }).nullish(),
});

const volumeMount = z.object({
  name: z.string(),
  mountPath: z.string().min(1),
  subPath: text,
  readOnly: flag,
});

const quantities = z
  .record(z.string(), z.union([z.string(), z.number()]).transform(String))
  .nullish()
  .transform((entries) => entries ?? {});

const container = z.object({
  name: z.string().regex(DNS_LABEL, 'is not a DNS label'),
  image: text,
  command: list(z.string()),
  args: list(z.string()),
  workingDir: text,
  env: list(environmentVariable),
  envFrom: list(environmentSource),
  volumeMounts: list(volumeMount),
  resources: z
    .object({ limits: quantities, requests: quantities })
    .nullish()
    .transform((resources) => resources ?? { limits: {}, requests: {} }),
  securityContext: z
    .object({ privileged: flag, runAsUser: z.int().nullish() })
    .nullish()
    .transform((context) => context ?? { privileged: false, runAsUser: null }),
});

const items = list(z.object({ key: z.string(), path: z.string(), mode: z.int().nullish() }));

const volume = z.object({
  name: z.string(),
  configMap: z.object({ name: text, items, defaultMode: z.int().nullish(), optional: flag }).nullish(),
  secret: z.object({ secretName: text, items, defaultMode: z.int().nullish(), optional: flag }).nullish(),
  projected: z.object({ defaultMode: z.int().nullish() }).nullish(),
  downwardAPI: z.object({ defaultMode: z.int().nullish() }).nullish(),
  emptyDir: z.object({}).nullish(),
  hostPath: z.unknown().optional(),
  persistentVolumeClaim: z.unknown().optional(),
});

const manifestSchema = z.object({
  metadata: z.object({
    name: z.string().regex(DNS_NAME, 'is not a DNS name'),
    namespace: z
      .string()
      .nullish()
      .transform((name) => name || 'default')
      .pipe(z.string().regex(DNS_LABEL, 'is not a DNS label')),
    uid: z.string().regex(UID, 'is not a lower-case UUID'),
    labels: map,
    annotations: map,
  }),
  spec: z.object({
    containers: z.array(container).min(1, 'is empty: a pod needs at least one container'),
    initContainers: list(container),
    volumes: list(volume),
    restartPolicy: text,
    nodeName: text,
    serviceAccountName: text,
    activeDeadlineSeconds: z.int().positive().nullish(),
    terminationGracePeriodSeconds: z.int().min(0).nullish(),
    securityContext: z
      .object({ runAsUser: z.int().nullish() })
      .nullish()
      .transform((context) => context ?? { runAsUser: null }),
  }),
});

/** The part of a v1.Pod that decides what runs; nulls and absences are normalised. */
export type Manifest = z.output<typeof manifestSchema>;
export type ContainerManifest = Manifest['spec']['containers'][number];
export type VolumeManifest = Manifest['spec']['volumes'][number];

/** @throws {WeftError} `invalid`, code `pod-invalid`, naming the field. */
export function parseManifest(pod: unknown): Manifest {
  const parsed = manifestSchema.safeParse(pod);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new WeftError(
    'invalid',
    'pod-invalid',
    `The pod is invalid: ${issue?.path.join('.')} ${issue?.message}`,
  );
}

/** What the VK handed over with the pod, keyed by name. Values are the files' bytes in base64. */
export const carriedVolumesSchema = z.object({
  configMaps: z.record(z.string(), z.record(z.string(), z.string())),
  secrets: z.record(z.string(), z.record(z.string(), z.string())),
  /** By name of the volume. */
  projected: z.record(z.string(), z.record(z.string(), z.string())),
});
export type CarriedVolumes = z.output<typeof carriedVolumesSchema>;

/** How long a container may take to end after SIGTERM (Kubernetes' default is 30 s). */
export function graceSeconds(manifest: Manifest): number {
  return manifest.spec.terminationGracePeriodSeconds ?? 30;
}
