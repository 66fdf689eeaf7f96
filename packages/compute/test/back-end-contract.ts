import { randomUUID } from 'node:crypto';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import type {
  BackEnd,
  JobReference,
  Observation,
  PreparedContainer,
  PreparedJob,
} from '../src/backends/back-end.ts';
import { BUILTIN_NODE } from '../src/core/images.ts';
import type { Account } from '../src/shim/job-file.ts';

export interface BackEndUnderTest {
  backEnd: BackEnd;
  /** A second instance that knows nothing of the first: what a restart of ours makes. */
  restarted(): Promise<BackEnd>;
  workFolder: string;
  account: Account | undefined;
}

/** What every back end promises (src/backends/back-end.ts). */
export function backEndContract(name: string, start: () => Promise<BackEndUnderTest>): void {
  describe(`back end ${name}`, () => {
    let under: BackEndUnderTest;
    beforeAll(async () => {
      under = await start();
    });

    let nextId = 1;
    async function prepare(
      command: readonly string[],
      changes: Partial<PreparedContainer> = {},
      job: Partial<PreparedJob> = {},
    ): Promise<PreparedJob & { shared: string }> {
      const uid = randomUUID();
      const folder = join(under.workFolder, `${uid}-1`);
      const shared = join(folder, 'volumes/shared');
      await mkdir(shared, { recursive: true, mode: 0o711 });
      if (under.account) await chown(shared, under.account.uid, under.account.gid);
      const container: PreparedContainer = {
        name: 'main',
        image: BUILTIN_NODE,
        command,
        environment: { PATH: '/usr/local/bin:/usr/bin:/bin' },
        workingDirectory: '/',
        mounts: [{ source: shared, target: '/shared', writable: true }],
        memoryLimitBytes: undefined,
        ...changes,
      };
      return {
        id: String(nextId++),
        token: randomUUID(),
        folder,
        shared,
        uid,
        site: 'test',
        namespace: 'default',
        name: `pod-${nextId}`,
        initContainers: [],
        containers: [container],
        resources: { cpus: 1, memoryBytes: 64 * 2 ** 20 },
        graceSeconds: 5,
        deadlineSeconds: undefined,
        ...job,
      };
    }

    /** Paths go in as words: without confinement only whole words can be translated. */
    const shell = (script: string, path: string) => ['/bin/sh', '-c', script, 'sh', path];
    const reference = (job: PreparedJob, handle: unknown = null): JobReference => ({ ...job, handle });

    async function observe(
      job: JobReference,
      wanted: readonly Observation['state'][],
      backEnd = under.backEnd,
    ): Promise<Observation> {
      // Far beyond what a busy machine needs.
      const deadline = performance.now() + 90_000;
      while (performance.now() < deadline) {
        const [seen] = await backEnd.inspect([job]);
        if (seen && wanted.includes(seen.state)) return seen;
        await sleep(20);
      }
      throw new Error(
        `the job did not become ${wanted.join(' or ')}: ${JSON.stringify(await backEnd.inspect([job]))}`,
      );
    }

    async function runToEnd(job: PreparedJob) {
      const { handle } = await under.backEnd.submit(job);
      const seen = await observe(reference(job, handle), ['ended']);
      if (seen.state !== 'ended') throw new Error(seen.state);
      return seen.end;
    }

    const logOf = (job: PreparedJob, container = 'main') =>
      readFile(under.backEnd.logFile(reference(job), container), 'utf8');

    test('tells the exit code of the container, and its output line by line', async () => {
      const job = await prepare(['/bin/sh', '-c', 'echo out; echo err >&2; printf rest; exit 7']);
      const end = await runToEnd(job);
      expect(end.containers).toMatchObject([{ name: 'main', end: { exitCode: 7, reason: 'Error' } }]);
      const lines = (await logOf(job)).split('\n');
      expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout F out|stderr F err)$/);
      expect((await logOf(job)).replaceAll(/^\S+ /gm, '').split('\n').sort()).toEqual(
        ['', 'stdout F out', 'stderr F err', 'stdout P rest'].sort(),
      );
    });

    test('never runs a job as root, and gives it nothing of the environment of ours', async () => {
      const job = await prepare(['/bin/sh', '-c', 'id -u; env']);
      const end = await runToEnd(job);
      expect(end.containers[0]?.end?.exitCode).toBe(0);
      const output = (await logOf(job)).replaceAll(/^\S+ \S+ \S /gm, '').split('\n');
      expect(Number(output[0])).toBeGreaterThan(0);
      expect(output.some((line) => line.startsWith('VITEST'))).toBe(false);
    });

    test('keeps every byte of arguments and environment, whatever a shell would make of it', async () => {
      const nasty = `a'b"c $(touch /shared/pwned) \`id\` \\ \n ; & | ü \t end`;
      const job = await prepare(
        ['node', '-e', 'console.log(JSON.stringify([process.argv[1], process.env.NASTY]))', nasty],
        {
          environment: { PATH: '/usr/local/bin:/usr/bin:/bin', NASTY: nasty },
        },
      );
      await runToEnd(job);
      const line = (await logOf(job)).split('\n')[0] ?? '';
      expect(JSON.parse(line.replace(/^\S+ \S+ \S /, ''))).toEqual([nasty, nasty]);
    });

    test('runs an attempt once, however often it is submitted', async () => {
      const job = await prepare(shell('echo run >> "$1"; sleep 0.3', '/shared/journal'));
      const restarted = await under.restarted();
      await Promise.all([under.backEnd.submit(job), restarted.submit(job), under.backEnd.submit(job)]);
      await observe(reference(job), ['ended']);
      await restarted.submit(job);
      await sleep(300);
      expect(await readFile(join(job.shared, 'journal'), 'utf8')).toBe('run\n');
    });

    test('finds a running job by its folder and token alone, and then its end', async () => {
      const job = await prepare(shell('while ! [ -e "$1" ]; do sleep 0.05; done; exit 3', '/shared/go'));
      await under.backEnd.submit(job);
      const restarted = await under.restarted();
      const seen = await observe(reference(job), ['running'], restarted);
      expect(seen).toMatchObject({ state: 'running' });
      await writeFile(join(job.shared, 'go'), '');
      expect(await observe(reference(job), ['ended'], restarted)).toMatchObject({
        end: { token: job.token, containers: [{ end: { exitCode: 3 } }] },
      });
    });

    test('a cancelled job gets SIGTERM and may put things in order', async () => {
      const job = await prepare([
        'node',
        '-e',
        "process.on('SIGTERM', () => { console.log('tidy'); process.exit(21); }); console.log('up'); setInterval(() => {}, 1000);",
      ]);
      const { handle } = await under.backEnd.submit(job);
      await observe(reference(job, handle), ['running']);
      await expect.poll(() => logOf(job).catch(() => '')).toContain('up');
      await under.backEnd.cancel(reference(job, handle), 60);
      const seen = await observe(reference(job, handle), ['ended']);
      expect(seen).toMatchObject({ end: { containers: [{ end: { exitCode: 21 } }] } });
      expect(await logOf(job)).toContain('tidy');
    });

    test('128 + signal when a signal ended the container', async () => {
      const job = await prepare([
        'node',
        '-e',
        "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)",
      ]);
      expect((await runToEnd(job)).containers[0]?.end?.exitCode).toBe(143);
    });

    test('a job that was cancelled before it began never begins', async () => {
      const job = await prepare(shell('echo run >> "$1"', '/shared/journal'));
      await under.backEnd.cancel(reference(job), 5);
      const { handle } = await under.backEnd.submit(job);
      await observe(reference(job, handle), ['cancelled', 'ended']);
      await sleep(200);
      await expect(readFile(join(job.shared, 'journal'))).rejects.toThrow(/ENOENT/);
    });

    test('init containers run one by one before the others, and stop the pod when one fails', async () => {
      const first = await prepare(shell('echo main >> "$1"', '/shared/order'));
      const [main] = first.containers;
      if (!main) throw new Error('no container');
      const init = { ...main, name: 'init', command: shell('echo init >> "$1"', '/shared/order') };
      await runToEnd({ ...first, initContainers: [init] });
      expect(await readFile(join(first.shared, 'order'), 'utf8')).toBe('init\nmain\n');

      const second = await prepare(shell('echo main >> "$1"', '/shared/order'));
      const failing = { ...second.containers[0], ...main, name: 'init', command: ['/bin/false'] };
      const end = await runToEnd({ ...second, initContainers: [failing] });
      expect(end.containers.map(({ name, end }) => [name, end?.exitCode])).toEqual([['init', 1]]);
    });

    test('ends a container that takes more memory than its limit, and a job that outlives its deadline', async () => {
      const greedy = await prepare(
        ['node', '-e', 'const hold = []; setInterval(() => hold.push(Buffer.alloc(2e7, 1)), 20)'],
        {
          memoryLimitBytes: 200 * 2 ** 20,
        },
      );
      expect((await runToEnd(greedy)).containers[0]?.end).toMatchObject({
        exitCode: 137,
        reason: 'OOMKilled',
      });
      const slow = await prepare(['sleep', '60'], {}, { deadlineSeconds: 1, graceSeconds: 1 });
      expect((await runToEnd(slow)).containers[0]?.end).toMatchObject({ reason: 'DeadlineExceeded' });
    });

    test('reports the time and memory that a job took', async () => {
      const job = await prepare([
        'node',
        '-e',
        'while (process.cpuUsage().user < 600000) for (let i = 0; i < 1e6; i++);',
      ]);
      const end = await runToEnd(job);
      expect(end.cpuSeconds).toBeGreaterThan(0.3);
      expect(end.peakMemoryBytes).toBeGreaterThan(10 * 2 ** 20);
    });
  });
}
