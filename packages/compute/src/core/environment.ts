import { WeftError } from '@weft/kernel/errors';
import type { CarriedVolumes, ContainerManifest, Manifest } from './manifest.ts';
import { resourcesOf } from './quantities.ts';

/**
 * The environment of a container with every source resolved, in Kubernetes' order: later `envFrom` beats earlier, `env`
 * beats `envFrom`, and `$(NAME)` in a value stands for a variable defined before it (`$$` for a dollar sign).
 *
 * @throws {WeftError} `invalid`, code `environment-invalid`: a reference that is not optional leads nowhere.
 */
export function resolveEnvironment(
  container: ContainerManifest,
  manifest: Manifest,
  volumes: CarriedVolumes,
  base: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = { ...base };
  for (const source of container.envFrom) {
    const entries = source.configMapRef
      ? entriesOf(volumes.configMaps, 'ConfigMap', source.configMapRef)
      : source.secretRef
        ? entriesOf(volumes.secrets, 'Secret', source.secretRef)
        : {};
    for (const [key, base64] of Object.entries(entries))
      set(environment, source.prefix + key, decode(base64));
  }
  for (const variable of container.env) {
    const value =
      variable.valueFrom == null
        ? expand(variable.value ?? '', environment)
        : resolveReference(variable.name, variable.valueFrom, manifest, volumes);
    if (value !== undefined) set(environment, variable.name, value);
  }
  return environment;
}

/** `$(NAME)` becomes the variable's value, or stays as it is when there is none; `$$` becomes `$`. */
export function expand(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (environment[name] ?? whole),
  );
}

function resolveReference(
  name: string,
  from: NonNullable<ContainerManifest['env'][number]['valueFrom']>,
  manifest: Manifest,
  volumes: CarriedVolumes,
): string | undefined {
  if (from.configMapKeyRef) return keyOf(volumes.configMaps, 'ConfigMap', from.configMapKeyRef);
  if (from.secretKeyRef) return keyOf(volumes.secrets, 'Secret', from.secretKeyRef);
  if (from.fieldRef) return fieldOf(manifest, from.fieldRef.fieldPath);
  if (from.resourceFieldRef) {
    const { cpus, memoryBytes } = resourcesOf(manifest);
    return String(from.resourceFieldRef.resource.endsWith('.memory') ? memoryBytes : cpus);
  }
  throw new WeftError(
    'invalid',
    'environment-invalid',
    `The variable ${name} has a valueFrom without a known source.`,
  );
}

/** The downward API's fields that are known before the pod runs. */
export function fieldOf(manifest: Manifest, fieldPath: string): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (subscript) {
    const [, kind, key] = subscript;
    return (kind === 'labels' ? manifest.metadata.labels : manifest.metadata.annotations)[key ?? ''] ?? '';
  }
  switch (fieldPath) {
    case 'metadata.name':
      return manifest.metadata.name;
    case 'metadata.namespace':
      return manifest.metadata.namespace;
    case 'metadata.uid':
      return manifest.metadata.uid;
    case 'spec.nodeName':
      return manifest.spec.nodeName;
    case 'spec.serviceAccountName':
      return manifest.spec.serviceAccountName;
    case 'status.podIP':
    case 'status.hostIP':
      return '127.0.0.1';
    default:
      throw new WeftError('invalid', 'environment-invalid', `fieldRef ${fieldPath} is not offered.`);
  }
}

interface Named {
  name: string;
  optional: boolean;
}

type Sources = CarriedVolumes['configMaps'];

function entriesOf(sources: Sources, kind: string, reference: Named): Readonly<Record<string, string>> {
  const entries = sources[reference.name];
  if (entries !== undefined) return entries;
  if (reference.optional) return {};
  throw new WeftError(
    'invalid',
    'environment-invalid',
    `The ${kind} ${reference.name} did not come with the pod.`,
  );
}

function keyOf(sources: Sources, kind: string, reference: Named & { key: string }): string | undefined {
  const base64 = entriesOf(sources, kind, reference)[reference.key];
  if (base64 !== undefined) return decode(base64);
  if (reference.optional) return undefined;
  throw new WeftError(
    'invalid',
    'environment-invalid',
    `The ${kind} ${reference.name} has no key ${reference.key}.`,
  );
}

function set(environment: Record<string, string>, name: string, value: string): void {
  if (name.includes('=') || name.includes('\0') || value.includes('\0')) {
    throw new WeftError(
      'invalid',
      'environment-invalid',
      `The variable ${name} holds a character that none may hold.`,
    );
  }
  environment[name] = value;
}

const decode = (base64: string) => Buffer.from(base64, 'base64').toString('utf8');
