import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { JobPlan } from './plan.ts';
import { createRequest, dnsLabel, podName, podUid } from './pod-manifest.ts';

const job: JobPlan = {
  name: 'update',
  image: 'node:24',
  command: ['node'],
  arguments: ['/payload/run.mjs'],
  environment: { LANG: 'C' },
  cpus: 1,
  memoryBytes: 512 * 2 ** 20,
  wallSeconds: 600,
  files: { '/payload/run.mjs': 'a', '/payload/more.mjs': 'b', '/etc/x': 'c' },
  inputs: [
    { did: 's:a', path: '/in' },
    { did: 's:b', path: '/previous' },
  ],
  outputs: [{ pattern: '/out/*', dataset: 's:c', replicate: [] }],
  after: [],
};
const placement = {
  deploymentId: '3d8c2ec8-c384-4b7c-a863-f91ed87c98c0',
  attempt: 1,
  namespace: 'drought',
  node: 'vn-hpc',
  rse: 'HPC-SCRATCH',
};

it('a pod is the same again for the same attempt, and another for the next one', () => {
  const { deploymentId } = placement;
  expect(podUid(deploymentId, 1, 'update')).toBe(podUid(deploymentId, 1, 'update'));
  expect(podUid(deploymentId, 2, 'update')).not.toBe(podUid(deploymentId, 1, 'update'));
  expect(podUid(deploymentId, 1, 'x')).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});

it('carries what the seams say about data, and the files as one ConfigMap', () => {
  const { pod, configmaps } = createRequest(job, placement);
  expect(pod.metadata).toMatchObject({
    name: 'update-3d8c2ec8',
    annotations: {
      'datalake.dte/stage-in': 's:a -> /in\ns:b -> /previous',
      'datalake.dte/stage-out': '/out/* -> s:c @ HPC-SCRATCH',
    },
  });
  expect(configmaps).toEqual([
    {
      metadata: { name: 'update-3d8c2ec8-files', namespace: 'drought' },
      data: { 'file-0': 'a', 'file-1': 'b', 'file-2': 'c' },
    },
  ]);
  const [container] = pod.spec.containers;
  expect(container?.volumeMounts.map(({ mountPath }) => mountPath)).toEqual(['/payload', '/etc']);
  expect(pod.spec.volumes[0]?.configMap.items).toEqual([
    { key: 'file-0', path: 'run.mjs' },
    { key: 'file-1', path: 'more.mjs' },
  ]);
  expect(container?.env).toEqual([
    { name: 'WEFT_POD_UID', value: pod.metadata.uid },
    { name: 'LANG', value: 'C' },
  ]);
  expect(container?.resources.limits).toEqual({ cpu: '1', memory: '512Mi' });
});

it('names are DNS labels, whatever they are made of', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(dnsLabel(text, 'x')).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(podName(text, placement.deploymentId, 12).length).toBeLessThanOrEqual(63);
    }),
    { numRuns: 200 },
  );
});
