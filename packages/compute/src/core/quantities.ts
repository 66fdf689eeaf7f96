import { WeftError } from '@weft/kernel/errors';
import type { ContainerManifest, Manifest } from './manifest.ts';

const MULTIPLIERS: Readonly<Record<string, number>> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * A Kubernetes quantity as a number.
 *
 * @example parseQuantity('512Mi') // 536870912
 * @example parseQuantity('500m') // 0.5
 * @throws {WeftError} `invalid`, code `quantity-invalid`.
 */
export function parseQuantity(quantity: string): number {
  const match = /^(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,2})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/.exec(
    quantity.trim(),
  );
  if (match === null) {
    throw new WeftError(
      'invalid',
      'quantity-invalid',
      `"${quantity}" is not a quantity, as "500m" and "512Mi" are.`,
    );
  }
  return (
    Number(match[1]) * (match[2] === undefined ? (MULTIPLIERS[match[3] ?? ''] ?? 1) : 10 ** Number(match[2]))
  );
}

/** What a pod needs at once: the sum over its containers, or its largest init container (the Kubernetes rule). */
export interface Resources {
  readonly cpus: number;
  readonly memoryBytes: number;
}

const DEFAULT_CPUS = 1;
const DEFAULT_MEMORY_BYTES = 512 * 2 ** 20;

export function resourcesOf(manifest: Manifest): Resources {
  const { containers, initContainers } = manifest.spec;
  const need = (name: string, fallback: number) => {
    const of = (container: ContainerManifest) => {
      const quantity = container.resources.limits[name] ?? container.resources.requests[name];
      return quantity === undefined ? 0 : parseQuantity(quantity);
    };
    const total = Math.max(
      containers.reduce((sum, container) => sum + of(container), 0),
      ...initContainers.map(of),
    );
    return total > 0 ? total : fallback;
  };
  return {
    cpus: Math.ceil(need('cpu', DEFAULT_CPUS)),
    memoryBytes: Math.ceil(need('memory', DEFAULT_MEMORY_BYTES)),
  };
}

/** The memory limit of one container, in bytes. */
export function memoryLimit(container: ContainerManifest): number | undefined {
  const limit = container.resources.limits.memory;
  return limit === undefined ? undefined : parseQuantity(limit);
}
