import { readFile, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ComputeRequestError } from '../src/client.ts';
import { isOver, NODE_IMAGE, podOf, type RunningSite, startSite, textOf, until } from './start-site.ts';

let site: RunningSite;
beforeAll(async () => {
  site = await startSite();
});
afterAll(async () => await site.stop());

test('a pod runs, its log can be read, and its exit code is the true one', async () => {
  const pod = podOf('hello', { command: ['/bin/sh', '-c'], args: ['echo hello from $HOSTNAME; exit 3'] });
  const created = await site.alice.create({ pod });
  expect(created).toEqual({ PodUID: pod.metadata.uid, PodJID: expect.stringMatching(/^\d+$/) });
  const status = await until(site.alice, pod, isOver);
  expect(status).toMatchObject({
    name: 'hello',
    namespace: 'default',
    UID: pod.metadata.uid,
    JID: created.PodJID,
    phase: 'Failed',
    containers: [
      {
        name: 'main',
        ready: false,
        restartCount: 0,
        state: { terminated: { exitCode: 3, reason: 'Error' } },
      },
    ],
    initContainers: [],
  });
  expect(await textOf(await logs(pod))).toBe('hello from hello\n');
});

test('an image without a command is started as its entry point does', async () => {
  const pod = podOf('eval', { args: ['-p', 'process.version'] });
  await site.alice.create({ pod });
  expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  expect(await textOf(await logs(pod))).toMatch(/^v24\./);
});

test('ConfigMaps, Secrets, projected and empty volumes arrive byte for byte', async () => {
  const pem = '-----BEGIN X-----\nabc\\n\n-----END X-----\n';
  const pod = podOf(
    'volumes',
    {
      command: [
        '/bin/sh',
        '-c',
        'cat /cfg/deep/a.txt /secret/key /var/run/token/ca.crt; echo "$FROM_SECRET $PLAIN"; ls -l /cfg/deep; echo x > /work/y; (echo z > /cfg/new) 2>/dev/null || echo refused',
      ],
      env: [
        { name: 'FROM_SECRET', valueFrom: { secretKeyRef: { name: 's', key: 'key' } } },
        { name: 'BASE', value: 'b' },
        { name: 'PLAIN', value: `$(BASE) $$(BASE) 'ü"` },
      ],
      volumeMounts: [
        { name: 'cfg', mountPath: '/cfg' },
        { name: 'secret', mountPath: '/secret', readOnly: true },
        { name: 'projected', mountPath: '/var/run/token' },
        { name: 'work', mountPath: '/work' },
      ],
    },
    {
      spec: {
        volumes: [
          { name: 'cfg', configMap: { name: 'c', items: [{ key: 'a', path: 'deep/a.txt', mode: 0o400 }] } },
          { name: 'secret', secret: { secretName: 's' } },
          { name: 'projected', projected: { sources: [] } },
          { name: 'work', emptyDir: {} },
        ],
      },
    },
  );
  await site.alice.create({
    pod,
    configmaps: [{ metadata: { name: 'c' }, data: { a: 'one\n', b: 'unused' } }],
    secrets: [{ metadata: { name: 's' }, data: { key: Buffer.from('s3cret\n').toString('base64') } }],
    projectedvolumesmaps: [{ metadata: { name: 'projected' }, data: { 'ca.crt': pem } }],
  });
  expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  const log = await textOf(await logs(pod));
  expect(log).toContain(`one\ns3cret\n${pem}s3cret\n b $(BASE) 'ü"\n`);
  expect(log).toMatch(/-r-------- .* a\.txt/);
  expect(log).toContain('refused');
});

test('a log can be followed while the container writes, and cut as asked', async () => {
  const pod = podOf('follow', {
    command: [
      '/bin/sh',
      '-c',
      'for i in 1 2 3; do echo line $i; while ! [ -e /scratch/go$i ]; do sleep 0.02; done; done; printf end',
    ],
  });
  await site.alice.create({ pod });
  const reader = (await logs(pod, { follow: true })).pipeThrough(new TextDecoderStream()).getReader();
  let seen = '';
  for (const step of [1, 2, 3]) {
    while (!seen.includes(`line ${step}`)) seen += (await reader.read()).value ?? '';
    await writeFile(join(site.folder, 'scratch', `go${step}`), '');
  }
  for (let part = await reader.read(); !part.done; part = await reader.read()) seen += part.value;
  expect(seen).toBe('line 1\nline 2\nline 3\nend');
  expect(await textOf(await logs(pod, { tailLines: 2 }))).toBe('line 3\nend');
  expect(await textOf(await logs(pod, { limitBytes: 8 }))).toBe('line 1\nl');
  expect(await textOf(await logs(pod, { timestamps: true, tailLines: 1 }))).toMatch(/^\d{4}-.*Z end$/);
  expect(await textOf(await logs(pod, { sinceTime: new Date(Date.now() + 1000) }))).toBe('');
});

test('create is idempotent by UID: the same answer, one job', async () => {
  const pod = podOf('once', { command: ['/bin/sh', '-c', 'echo "$HOSTNAME" >> /scratch/once'] });
  const answers = await Promise.all([1, 2, 3].map(() => site.alice.create({ pod })));
  await until(site.alice, pod, isOver);
  answers.push(await site.alice.create({ pod }));
  expect(new Set(answers.map(({ PodJID }) => PodJID)).size).toBe(1);
  expect(await readFile(join(site.folder, 'scratch/once'), 'utf8')).toBe('once\n');
});

test('no more pods than slots run at once, and they start in the order they came', async () => {
  const script = 'echo + >> /scratch/slots; sleep 0.3; echo - >> /scratch/slots';
  const pods = [1, 2, 3, 4, 5].map((n) => podOf(`slot-${n}`, { command: ['/bin/sh', '-c', script] }));
  for (const pod of pods) await site.alice.create({ pod });
  for (const pod of pods) expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  let running = 0;
  for (const mark of (await readFile(join(site.folder, 'scratch/slots'), 'utf8')).trim().split('\n')) {
    running += mark === '+' ? 1 : -1;
    expect(running).toBeLessThanOrEqual(2);
  }
});

test('deleting a running pod ends its job, forgets it, and its UID is not used again', async () => {
  const pod = podOf('deleted', {
    command: [
      'node',
      '-e',
      "process.on('SIGTERM', () => process.exit(5)); console.log('up'); setInterval(() => {}, 1000)",
    ],
  });
  await site.alice.create({ pod });
  await until(site.alice, pod, ({ phase }) => phase === 'Running');
  await site.alice.delete(pod);
  await expect.poll(() => site.alice.status([pod])).toEqual([]);
  await site.alice.delete(pod);
  await expect(site.alice.create({ pod })).rejects.toMatchObject({ status: 409 });
});

test('a pod that cannot run here is refused at once, with the reason', async () => {
  const refusal = async (pod: ReturnType<typeof podOf>) => {
    const error = await site.alice.create({ pod }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof ComputeRequestError)) throw new Error('was not refused');
    return [error.status, error.text];
  };
  expect(await refusal(podOf('image', { image: 'nginx:alpine' }))).toEqual([
    400,
    expect.stringContaining(NODE_IMAGE),
  ]);
  expect(await refusal(podOf('root', { securityContext: { runAsUser: 0 } }))).toEqual([
    403,
    expect.stringContaining('root'),
  ]);
  expect(
    await refusal(podOf('host', {}, { spec: { volumes: [{ name: 'h', hostPath: { path: '/' } }] } })),
  ).toEqual([501, expect.stringContaining('hostPath')]);
  expect(await refusal(podOf('missing', { volumeMounts: [{ name: 'no', mountPath: '/x' }] }))).toEqual([
    400,
    expect.stringContaining('volume no'),
  ]);
  expect(await refusal(podOf('Bad_Name', {}))).toEqual([400, expect.stringContaining('metadata.name')]);
});

test('a token that is missing, for somebody else, expired or without the scope is refused as RFC 6750 says', async () => {
  const ask = async (headers: Record<string, string>) => {
    const response = await site.fetch(`${site.url}/status`, { method: 'POST', body: '[]', headers });
    return [response.status, response.headers.get('www-authenticate')];
  };
  const bearer = async (claims: Record<string, unknown>) => ({
    authorization: `Bearer ${await site.token(claims)}`,
  });
  expect(await ask({})).toEqual([401, 'Bearer realm="weft"']);
  expect(await ask({ authorization: 'Bearer nonsense' })).toEqual([
    401,
    expect.stringContaining('invalid_token'),
  ]);
  expect(await ask(await bearer({ aud: 'https://other' }))).toEqual([
    401,
    expect.stringContaining('invalid_token'),
  ]);
  expect(await ask(await bearer({ exp: Math.floor(Date.now() / 1000) - 600 }))).toEqual([
    401,
    expect.stringContaining('invalid_token'),
  ]);
  expect(await ask(await bearer({ scope: 'compute.create' }))).toEqual([
    403,
    expect.stringContaining('insufficient_scope'),
  ]);
  expect(await ask(await bearer({}))).toEqual([200, null]);
});

test('pods of others can be neither seen nor read nor ended', async () => {
  const pod = podOf('private', { command: ['/bin/sh', '-c', 'echo mine'] });
  await site.alice.create({ pod });
  await until(site.alice, pod, isOver);
  const mallory = site.clientOf({ sub: 'mallory' });
  expect(await mallory.status([pod])).toEqual([]);
  await mallory.delete(pod);
  await expect(mallory.create({ pod })).rejects.toMatchObject({ status: 409 });
  const { name, namespace, uid } = pod.metadata;
  await expect(
    mallory.logs({ podName: name, namespace, podUid: uid, container: 'main' }),
  ).rejects.toMatchObject({ status: 404 });
  expect((await site.alice.status([pod]))[0]?.phase).toBe('Succeeded');
});

test('a drained site refuses new pods with the reason, and says so to placement', async () => {
  const operator = site.clientOf({
    sub: 'op',
    'wlcg.groups': ['/admin'],
    scope: 'compute.read compute.modify',
  });
  await expect(site.clientOf({ scope: 'compute.modify' }).setDrained(true)).rejects.toMatchObject({
    status: 403,
  });
  expect(await operator.setDrained(true, 'new cooling')).toMatchObject({
    drained: true,
    drained_reason: 'new cooling',
  });
  await expect(site.alice.create({ pod: podOf('late', {}) })).rejects.toMatchObject({
    status: 503,
    text: expect.stringContaining('new cooling'),
  });
  expect((await site.alice.ping()).taints).toHaveLength(1);
  await operator.setDrained(false);
  expect(await site.alice.siteState()).toMatchObject({
    site: 'hpc',
    node: 'vn-hpc',
    backend: 'sandbox',
    slots: 2,
    running: 0,
    queued: 0,
    drained: false,
    median_wait_seconds: expect.any(Number),
    failure_rate: expect.any(Number),
  });
});

test('the dialect of the virtual kubelet: GET and DELETE with a body, arrays, null, any case of keys', async () => {
  const pod = podOf('dialect', { command: ['true'] });
  const created = await raw('POST', '/create', JSON.stringify([pod]));
  expect(JSON.parse(created.text)).toMatchObject({ PodUID: pod.metadata.uid });
  await until(site.alice, pod, isOver);
  expect(JSON.parse((await raw('GET', '/status', JSON.stringify([pod]))).text)).toHaveLength(1);
  expect((await raw('GET', '/status', 'null')).status).toBe(200);
  expect((await raw('GET', '/status', '[{')).status).toBe(400);
  expect((await raw('POST', '/ping', '')).status).toBe(200);
  const log = {
    namespace: 'default',
    poduid: pod.metadata.uid,
    podname: 'dialect',
    containername: 'main',
    opts: { Tail: 0, SinceTime: '0001-01-01T00:00:00Z' },
  };
  expect((await raw('GET', '/getLogs', JSON.stringify(log))).status).toBe(200);
  const both = { ...log, opts: { tail: 1, bytes: 1 } };
  expect((await raw('GET', '/getLogs', JSON.stringify(both))).status).toBe(400);
  expect((await raw('GET', '/getLogs', JSON.stringify({ ...log, poduid: '../../etc' }))).status).toBe(400);
  expect((await raw('DELETE', '/delete', JSON.stringify(pod))).text).toMatch(/^\[/);
  expect((await raw('DELETE', '/delete', 'garbage')).status).toBe(400);
});

test('every change of a pod is told, in order, to those who may know', async () => {
  const pod = podOf('told', { command: ['true'] });
  await site.alice.create({ pod });
  await until(site.alice, pod, isOver);
  const stop = new AbortController();
  const events = async (claims: Record<string, unknown>) => {
    const response = await site.fetch(`${site.url}/.weft/events?types=pod.updated`, {
      headers: { authorization: `Bearer ${await site.token(claims)}`, 'last-event-id': '0' },
      timeoutMilliseconds: 0,
      signal: stop.signal,
    });
    const reader = (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    // What has happened is told before that.
    while (!text.includes('event: ready\n')) text += (await reader.read()).value ?? '';
    return text
      .split('\n')
      .filter((line) => line.startsWith('data:') && line.includes(pod.metadata.uid))
      .map((line) => JSON.parse(line.slice(5)).data.state);
  };
  const states = await events({});
  expect(states[0]).toBe('accepted');
  expect(states.at(-1)).toBe('succeeded');
  expect(await events({ sub: 'mallory' })).toEqual([]);
  stop.abort();
});

function raw(method: string, path: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    void site.token().then((token) => {
      const request = httpsRequest(
        `${site.url}${path}`,
        {
          method,
          rejectUnauthorized: false,
          headers: {
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        },
      );
      request.on('error', reject).end(body);
    });
  });
}

function logs(pod: { metadata: { name: string; namespace: string; uid: string } }, more = {}) {
  const { name, namespace, uid } = pod.metadata;
  return site.alice.logs({ podName: name, namespace, podUid: uid, container: 'main', ...more });
}
