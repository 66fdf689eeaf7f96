import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProcessSetUp } from './services-process.ts';
import { isOver, podOf, type RunningSite, startSite, textOf, until } from './start-site.ts';

const PROGRAM = fileURLToPath(new URL('./services-process.ts', import.meta.url));

let site: RunningSite;
let setUp: ProcessSetUp;
beforeAll(async () => {
  site = await startSite({ daemons: false, slots: 3 });
  const { target } = site.test;
  setUp = {
    ...(target.connection
      ? { connection: { ...target.connection, password: target.connection.password.reveal() } }
      : { url: typeof target.url === 'string' ? target.url : target.url.reveal() }),
    config: site.context.config,
    secretKey: site.secretKey.toString('base64'),
  };
});
afterAll(async () => await site.stop());

/** Our daemons in a process group of their own. */
async function startServices(): Promise<{ kill(): Promise<void> }> {
  const child: ChildProcess = spawn(process.execPath, [PROGRAM], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin?.end(JSON.stringify(setUp));
  if (child.stdout) await once(child.stdout, 'data');
  return {
    async kill() {
      const gone = once(child, 'exit');
      process.kill(-(child.pid ?? 0), 'SIGKILL');
      await gone;
    },
  };
}

test('kill -9 of all our processes at any moment: jobs go on, are adopted, and run exactly once', async () => {
  const script =
    'echo "begin $HOSTNAME" >> /scratch/journal; sleep 0.8; echo "end $HOSTNAME" >> /scratch/journal; exit 7';
  const pods = Array.from({ length: 6 }, (_, index) =>
    podOf(`pod-${index}`, { command: ['/bin/sh', '-c', script] }),
  );
  for (const pod of pods) await site.alice.create({ pod });

  for (let kills = 0; kills < 4; kills++) {
    const services = await startServices();
    await pause(Math.random() * 900);
    await services.kill();
  }
  const services = await startServices();
  for (const pod of pods) {
    expect(await until(site.alice, pod, isOver)).toMatchObject({
      phase: 'Failed',
      containers: [{ state: { terminated: { exitCode: 7 } } }],
    });
  }
  await services.kill();
  const journal = (await readFile(join(site.folder, 'scratch/journal'), 'utf8')).trim().split('\n');
  const expected = pods.flatMap(({ metadata }) => [`begin ${metadata.name}`, `end ${metadata.name}`]);
  expect(journal.sort()).toEqual(expected.sort());
});

test('a job that runs while we are dead is adopted, not restarted, and its whole log and exit code are there', async () => {
  const script =
    'echo start; until [ -e /scratch/go ]; do sleep 0.05; done; echo late; touch /scratch/gone; exit 42';
  const pod = podOf('alone', { command: ['/bin/sh', '-c', script] });
  await site.alice.create({ pod });
  const first = await startServices();
  await until(site.alice, pod, ({ phase }) => phase === 'Running');
  await first.kill();
  const scratch = join(site.folder, 'scratch');
  await writeFile(join(scratch, 'go'), '');
  await expect.poll(() => existsSync(join(scratch, 'gone'))).toBe(true);
  const second = await startServices();
  expect(await until(site.alice, pod, isOver)).toMatchObject({
    containers: [{ state: { terminated: { exitCode: 42 } } }],
  });
  const { name, namespace, uid } = pod.metadata;
  const log = await textOf(
    await site.alice.logs({ podName: name, namespace, podUid: uid, container: 'main' }),
  );
  expect(log).toMatch(/^start\nlate\n$/);
  await second.kill();
});
