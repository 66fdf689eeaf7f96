import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import { afterEach, expect, it } from 'vitest';
import { type Stage, setStage } from './stage.ts';

const template = readFileSync(
  new URL('../../../examples/drought-twin/drought-twin.yaml', import.meta.url),
  'utf8',
);
const parameters = { issue: '2010-12', payload: 'console.log("drought")\n' };

let stage: Stage;
let worker: ChildProcess | undefined;

async function begin(options: { peersTellEvents?: boolean } = {}): Promise<void> {
  stage = await setStage({ step_attempts: 50 }, options);
  stage.datalake.contents.set('drought:climdiv', [['1895.csv', 2_000_000, ['OBS-DISK']]]);
  stage.datalake.contents.set('drought:warning-2010-12', []);
}
afterEach(async () => {
  worker?.kill('SIGKILL');
  worker = undefined;
  await stage.close();
});

/** Nothing was handed over twice; deployments that want the same share one rule for it. */
function expectNothingTwice(): void {
  for (const site of [stage.hpc, stage.cloud]) {
    const uids = site.created.map(({ pod }) => pod.metadata.uid);
    expect(new Set(uids).size).toBe(uids.length);
  }
  const wanted = stage.datalake.rules.map(({ did, rse_expression }) => `${did} at ${rse_expression}`);
  expect(new Set(wanted).size).toBe(wanted.length);
  const visited = [stage.hpc, stage.cloud].filter((site) => site.created.length > 0).length;
  expect(stage.datalake.rules).toHaveLength(visited + 1);
}

it('peers that fail or whose answers are lost delay a deployment, and nothing happens twice', async () => {
  await begin();
  for (const peer of [stage.hpc, stage.cloud, stage.datalake]) peer.faults = 0.08;
  await stage.startDaemons();
  const alice = stage.clientOf('alice');
  const made = await Promise.all(
    Array.from({ length: 8 }, async () => await alice.create({ template, parameters })),
  );
  const ended = await Promise.all(
    made.map(
      async ({ uuid }) => await alice.wait(uuid, { everyMilliseconds: 100, timeoutMilliseconds: 120_000 }),
    ),
  );
  expect(ended.map(({ status }) => status)).toEqual(ended.map(() => 'CREATE_COMPLETE'));
  expect(stage.hpc.created.length + stage.cloud.created.length).toBe(8);
  expectNothingTwice();
});

it('a process that is killed loses nothing and repeats nothing', async () => {
  await begin();
  stage.datalake.firstState = 'REPLICATING';
  stage.hpc.outcome = { phase: 'Running' };
  stage.cloud.outcome = { phase: 'Running' };
  const alice = stage.clientOf('alice');
  const made = await Promise.all(
    Array.from({ length: 5 }, async () => await alice.create({ template, parameters })),
  );
  for (let kills = 0; kills < 4; kills += 1) {
    worker = spawn(
      process.execPath,
      [new URL('./worker-process.ts', import.meta.url).pathname, stage.workerArgument],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    if (worker.stdout) await once(worker.stdout, 'data');
    await sleep(Math.random() * 500);
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
    // One thing goes on after each kill: first the data arrive, then the jobs end.
    if (kills === 1) for (const rule of stage.datalake.rules) rule.state = 'OK';
    if (kills === 1) stage.datalake.firstState = 'OK';
    if (kills === 2) stage.hpc.outcome = stage.cloud.outcome = { phase: 'Succeeded' };
  }
  await stage.startDaemons();
  for (const { uuid } of made) {
    const { status } = await alice.wait(uuid, { everyMilliseconds: 100, timeoutMilliseconds: 120_000 });
    expect(status).toBe('CREATE_COMPLETE');
  }
  expect(stage.hpc.created.length + stage.cloud.created.length).toBe(5);
  expectNothingTwice();
});

it('events of the datalake and of sites move a deployment on at once', async () => {
  await begin({ peersTellEvents: true });
  stage.datalake.firstState = 'REPLICATING';
  stage.hpc.outcome = { phase: 'Running' };
  const { database, wakeUps } = stage.context;
  await stage.startDaemons();
  const alice = stage.clientOf('alice');
  const { uuid } = await alice.create({ template, parameters });
  const task = async () => (await alice.get(uuid)).task;

  await expect.poll(task).toBe('DMS');
  await waitWithoutPolling(uuid);
  for (const rule of stage.datalake.rules) rule.state = 'OK';
  const [rule] = stage.datalake.rules;
  await database.transaction(async (tx) => {
    await emit(tx, wakeUps, 'datalake', [{ type: 'rule.ok', subject: rule?.id ?? '', data: {} }]);
  });
  await expect.poll(task).toBe('DEPLOYER');

  await expect.poll(() => stage.hpc.created.length).toBe(1);
  await waitWithoutPolling(uuid);
  stage.hpc.outcome = { phase: 'Succeeded' };
  const pod = stage.hpc.created[0]?.pod.metadata;
  await database.transaction(async (tx) => {
    const subject = `${pod?.namespace}/${pod?.name}`;
    await emit(tx, wakeUps, 'compute', [{ type: 'pod.updated', subject, data: {} }]);
  });
  await expect.poll(async () => (await alice.get(uuid)).status).toBe('CREATE_COMPLETE');
});

/** Moves the next look of the safety net into the far future. */
async function waitWithoutPolling(uuid: string): Promise<void> {
  const { database } = stage.context;
  const isPostponed = async () => {
    const { rows } = await sql`update kernel.work set due_at = now() + interval '1 hour'
      where queue = 'orchestrator.advance-deployments' and key = ${uuid} and lease is null and not ready
      returning id`.execute(database.sql);
    return rows.length;
  };
  await expect.poll(isPostponed, { interval: 5 }).toBe(1);
}
