import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseManifest } from './manifest.ts';
import { parseQuantity, resourcesOf } from './quantities.ts';

test('quantities as Kubernetes writes them', () => {
  expect(parseQuantity('512Mi')).toBe(536_870_912);
  expect(parseQuantity('500m')).toBe(0.5);
  expect(parseQuantity('1e3')).toBe(1000);
  expect(parseQuantity('.5')).toBe(0.5);
  expect(parseQuantity('3000G')).toBe(3e12);
  for (const bad of ['', '-1', '1 Gi', '1GiB', 'five', '1e999'])
    expect(() => parseQuantity(bad)).toThrow(/quantity/);
});

test('plain numbers are themselves', () => {
  fc.assert(fc.property(fc.nat(), (value) => parseQuantity(String(value)) === value));
});

test('a pod needs the sum of its containers, or its largest init container', () => {
  const container = (name: string, cpu: string, memory: string) => ({
    name,
    resources: { limits: { cpu, memory } },
  });
  const manifest = parseManifest({
    metadata: { name: 'p', uid: '00000000-0000-0000-0000-000000000000' },
    spec: {
      initContainers: [container('init', '3', '100Mi')],
      containers: [container('a', '500m', '256Mi'), container('b', '1', '256Mi')],
    },
  });
  expect(resourcesOf(manifest)).toEqual({ cpus: 3, memoryBytes: 512 * 2 ** 20 });
});
