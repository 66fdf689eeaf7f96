import { join, normalize } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expand } from './environment.ts';
import { canonicalImage } from './images.ts';
import { parseManifest } from './manifest.ts';
import { planMounts } from './mounts.ts';
import { planVolumes, safePath } from './volumes.ts';

const NOTHING = { configMaps: {}, secrets: {}, projected: {} };
const manifestWith = (spec: Record<string, unknown>, annotations: Record<string, string> = {}) =>
  parseManifest({
    metadata: { name: 'p', uid: '00000000-0000-0000-0000-000000000000', annotations },
    spec: { containers: [{ name: 'c' }], ...spec },
  });

test('a file of a volume never leaves its folder', () => {
  fc.assert(
    fc.property(fc.string(), (path) => {
      try {
        expect(normalize(join('/volume', safePath(path, 'v'))).startsWith('/volume/')).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ kind: 'invalid', code: 'volume-invalid' });
      }
    }),
  );
  for (const bad of ['../x', 'a/../../x', '/etc/passwd', '.', ''])
    expect(() => safePath(bad, 'v')).toThrow(/leaves it/);
});

test('an optional ConfigMap that is missing is an empty volume, another one is an error', () => {
  const volume = (optional: boolean) =>
    manifestWith({ volumes: [{ name: 'v', configMap: { name: 'm', optional } }] });
  expect(planVolumes(volume(true), NOTHING)).toEqual([{ name: 'v', files: [] }]);
  expect(() => planVolumes(volume(false), NOTHING)).toThrow(/ConfigMap m/);
});

test('staging into a folder that an emptyDir covers uses the emptyDir', () => {
  const manifest = manifestWith(
    {
      containers: [{ name: 'c', volumeMounts: [{ name: 'work', mountPath: '/work' }] }],
      volumes: [{ name: 'work', emptyDir: {} }],
    },
    {
      'datalake.dte/stage-in': 'a:b -> /work/in\na:c -> /in',
      'datalake.dte/stage-out': '/work/out/* -> a:d @ X',
    },
  );
  const plan = planMounts(manifest, '/job', { folder: '/site/scratch', mount: '/scratch' });
  expect(plan.staging).toEqual(
    new Map([
      ['/work/in', '/job/volumes/work/in'],
      ['/in', '/job/staged/1'],
      ['/work/out', '/job/volumes/work/out'],
    ]),
  );
  expect(plan.ofContainer.get('c')).toEqual([
    { source: '/job/staged/1', target: '/in', writable: false },
    { source: '/job/volumes/work', target: '/work', writable: true },
    { source: '/site/scratch', target: '/scratch', writable: true },
  ]);
});

test('names of images and references to variables', () => {
  expect(canonicalImage('node:24-alpine')).toBe('docker.io/library/node:24-alpine');
  expect(canonicalImage('docker.io/library/node:24-alpine')).toBe('docker.io/library/node:24-alpine');
  expect(canonicalImage('ghcr.io/grycap/cowsay')).toBe('ghcr.io/grycap/cowsay:latest');
  expect(canonicalImage('localhost:5000/x@sha256:0')).toBe('localhost:5000/x@sha256:0');
  expect(expand('$(A)-$$(A)-$(B)-$A', { A: '1' })).toBe('1-$(A)-$(B)-$A');
});
