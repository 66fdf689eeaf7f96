import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Deployment, OrchestratorClient } from '../src/client.ts';
import { type Stage, setStage } from './stage.ts';

const template = readFileSync(
  new URL('../../../examples/drought-twin/drought-twin.yaml', import.meta.url),
  'utf8',
);
const parameters = { issue: '2010-12', payload: 'console.log("drought")\n' };

let stage: Stage;
let alice: OrchestratorClient;

beforeAll(async () => {
  stage = await setStage();
  await stage.startDaemons();
  alice = stage.clientOf('alice');
});
afterAll(async () => await stage.close());

beforeEach(() => {
  const { datalake, hpc, cloud, asked } = stage;
  datalake.contents.clear();
  datalake.contents.set('drought:climdiv', [
    ['1895.csv', 1_000_000, ['OBS-DISK']],
    ['1896.csv', 1_025_836, ['OBS-DISK']],
  ]);
  datalake.contents.set('drought:warning-2010-12', []);
  datalake.rules.length = 0;
  datalake.firstState = 'OK';
  datalake.broken = undefined;
  datalake.tokens.length = 0;
  asked.length = 0;
  for (const [site, slots] of [
    [hpc, 2],
    [cloud, 1],
  ] as const) {
    site.created.length = 0;
    site.deleted.length = 0;
    site.tokens.length = 0;
    site.state = { drained: false, slots, running: 0, queued: 0 };
    site.outcome = { phase: 'Succeeded' };
    site.refuses = undefined;
  }
});

async function ends(deployment: Deployment): Promise<Deployment> {
  return await alice.wait(deployment.uuid, { everyMilliseconds: 20, timeoutMilliseconds: 120_000 });
}

describe('a deployment of the twin', () => {
  it('goes to the site with more free slots, brings the data there, runs the job and replicates the result', async () => {
    const done = await ends(await alice.create({ template, parameters }));
    expect(done).toMatchObject({
      status: 'CREATE_COMPLETE',
      task: 'NONE',
      userGroup: 'drought',
      cloudProviderName: 'hpc',
      outputs: { dataset: 'drought:warning-2010-12', site: 'hpc', exit_code: 0 },
    });
    expect(stage.datalake.rules.map(({ did, rse_expression }) => [did, rse_expression])).toEqual([
      ['drought:climdiv', 'HPC-SCRATCH'],
      ['drought:warning-2010-12', 'OBS-DISK'],
    ]);
    expect(stage.hpc.created).toHaveLength(1);
    const [{ pod, configmaps }] = stage.hpc.created as [(typeof stage.hpc.created)[number]];
    expect(pod.metadata).toMatchObject({
      namespace: 'drought',
      uid: done.outputs.pod,
      annotations: {
        'datalake.dte/stage-in': 'drought:climdiv -> /in',
        'datalake.dte/stage-out': '/out/* -> drought:warning-2010-12 @ HPC-SCRATCH',
      },
    });
    expect(pod.spec.containers[0]?.args).toEqual([
      '/payload/drought.mjs',
      'update',
      '--in',
      '/in',
      '--out',
      '/out',
      '--issue',
      '2010-12',
    ]);
    expect(configmaps[0]?.data).toEqual({ 'file-0': parameters.payload });
  });

  it('says why it is where it is', async () => {
    const { uuid } = await ends(await alice.create({ template, parameters }));
    const { decisions, attempts } = await alice.placement(uuid);
    expect(decisions[0]?.chosen).toBe('hpc');
    expect(decisions[0]?.providers.map(({ provider, rank, reasons }) => [provider, rank, reasons])).toEqual([
      ['hpc', 1, ['2 of 2 slots free, 0 queued', '2.0 MB to bring']],
      ['cloud', 2, ['1 of 1 slots free, 0 queued', '2.0 MB to bring']],
    ]);
    expect(attempts[0]?.pods[0]).toMatchObject({ job: 'update', state: 'succeeded', exitCode: 0 });
    expect(await alice.log(uuid)).toMatch(/hpc chosen with score .*\n.*waiting|data at HPC-SCRATCH/);
  });

  it('goes to cloud when hpc is drained, and the reason says so', async () => {
    stage.hpc.state.drained = true;
    const done = await ends(await alice.create({ template, parameters }));
    expect(done).toMatchObject({ status: 'CREATE_COMPLETE', cloudProviderName: 'cloud' });
    const { decisions } = await alice.placement(done.uuid);
    expect(decisions[0]?.providers[1]).toMatchObject({
      provider: 'hpc',
      rank: null,
      reasons: ['hpc drained'],
    });
    expect(await alice.log(done.uuid)).toContain('hpc drained');
  });

  it('acts with tokens of the user for each peer, and asks for the state of sites with its own', async () => {
    await ends(await alice.create({ template, parameters }));
    const { asked, datalake, hpc } = stage;
    expect(asked.filter(({ grant }) => grant === 'exchange')).toEqual([
      { grant: 'exchange', audience: datalake.url, scopes: ['openid', 'profile', 'offline_access'] },
      ...[hpc.url, stage.cloud.url].map((audience) => ({
        grant: 'exchange',
        audience,
        scopes: ['compute.read', 'compute.create', 'compute.cancel', 'openid', 'profile', 'offline_access'],
      })),
    ]);
    expect(new Set(datalake.tokens)).toContain(`refreshed-for-${datalake.url}`);
    expect(new Set(hpc.tokens)).toEqual(new Set([`own-for-${hpc.url}`, `refreshed-for-${hpc.url}`]));
  });

  it('keeps no token of the user when it has ended', async () => {
    const { uuid } = await ends(await alice.create({ template, parameters }));
    const { sql } = await import('kysely');
    const count = async () => {
      const { rows } = await sql<{
        count: string;
      }>`select count(*) from orchestrator.delegations where deployment_id = ${uuid}`.execute(
        stage.context.database.sql,
      );
      return Number(rows[0]?.count);
    };
    await expect.poll(count).toBe(0);
  });

  it('is told to the callback of the request, to its deletion', async () => {
    const { uuid } = await ends(await alice.create({ template, parameters, callback: stage.callback }));
    const last = () => stage.callbacks.at(-1);
    await expect.poll(last).toMatchObject({
      uuid,
      status: 'CREATE_COMPLETE',
      task: 'NONE',
      outputs: { site: 'hpc' },
      createdBy: { subject: 'alice' },
    });
    expect(last()).not.toHaveProperty('links');
    await alice.delete(uuid);
    await expect.poll(last).toMatchObject({ uuid, status: 'DELETE_COMPLETE' });
  });

  it('waits until the rule is OK', async () => {
    stage.datalake.firstState = 'REPLICATING';
    const { uuid } = await alice.create({ template, parameters });
    await expect.poll(async () => (await alice.get(uuid)).task).toBe('DMS');
    expect(stage.hpc.created).toHaveLength(0);
    for (const rule of stage.datalake.rules) rule.state = 'OK';
    stage.datalake.firstState = 'OK';
    expect((await alice.wait(uuid, { everyMilliseconds: 20 })).status).toBe('CREATE_COMPLETE');
  });
});

describe('failures', () => {
  it('of the provider lead to the next one, and what was begun is removed', async () => {
    stage.hpc.refuses = 400;
    const done = await ends(await alice.create({ template, parameters }));
    expect(done).toMatchObject({ status: 'CREATE_COMPLETE', cloudProviderName: 'cloud' });
    const { attempts } = await alice.placement(done.uuid);
    expect(attempts.map(({ provider, failureClass }) => [provider, failureClass])).toEqual([
      ['hpc', 'USER_TEMPLATE'],
      ['cloud', null],
    ]);
    await expect
      .poll(() => stage.datalake.rules.filter(({ rse_expression }) => rse_expression === 'HPC-SCRATCH'))
      .toEqual([]);
  });

  it('of every provider are all told', async () => {
    stage.hpc.refuses = 500;
    stage.cloud.refuses = 400;
    const done = await ends(await alice.create({ template, parameters }));
    expect(done.status).toBe('CREATE_FAILED');
    expect(done.statusReason).toMatch(/attempt 1 on hpc \(PROVIDER_DOWN\).*\nattempt 2 on cloud/);
  });

  it('of the program end the deployment at once', async () => {
    stage.hpc.outcome = { phase: 'Failed', exitCode: 65 };
    const done = await ends(await alice.create({ template, parameters }));
    expect(done.status).toBe('CREATE_FAILED');
    expect(done.statusReason).toBe(
      'update ended with exit code 65 at hpc\ngap 2011-02: climdiv-pcpn-2011-03.csv',
    );
    expect(stage.cloud.created).toHaveLength(0);
  });

  it('of the site while the job runs lead to the next one', async () => {
    stage.hpc.outcome = { phase: 'Failed', reason: 'JobLost' };
    const done = await ends(await alice.create({ template, parameters }));
    expect(done).toMatchObject({ status: 'CREATE_COMPLETE', cloudProviderName: 'cloud' });
  });

  it('to find the data are told with the name of the data', async () => {
    stage.datalake.contents.delete('drought:climdiv');
    const done = await ends(await alice.create({ template, parameters }));
    expect(done.status).toBe('CREATE_FAILED');
    expect(done.statusReason).toContain('drought:climdiv not found');
  });

  it('of the datalake for a moment are waited for', async () => {
    stage.datalake.broken = 503;
    const { uuid } = await alice.create({ template, parameters });
    await expect.poll(async () => await alice.log(uuid)).toContain('trying again');
    stage.datalake.broken = undefined;
    expect((await alice.wait(uuid, { everyMilliseconds: 20 })).status).toBe('CREATE_COMPLETE');
  });

  it('end a template that nobody can run with the reason of each provider', async () => {
    const virtualMachine =
      'tosca_definitions_version: tosca_simple_yaml_1_0\ntopology_template: { node_templates: { vm: { type: tosca.nodes.indigo.Compute } } }';
    const done = await ends(await alice.create({ template: virtualMachine }));
    expect(done.status).toBe('CREATE_FAILED');
    expect(done.statusReason).toMatch(
      /^No cloud provider meets the deployment requirements\nhpc: cannot run nodes/,
    );
  });
});

describe('deletion', () => {
  it('of a running deployment ends the pod and removes the rules of its inputs', async () => {
    stage.hpc.outcome = { phase: 'Running' };
    const { uuid } = await alice.create({ template, parameters });
    await expect.poll(() => stage.hpc.created.length).toBe(1);
    await alice.delete(uuid);
    await expect.poll(async () => await gone(uuid)).toBe(404);
    // A deletion may be asked for again; a site ends a pod once.
    expect([...new Set(stage.hpc.deleted)]).toEqual([stage.hpc.created[0]?.pod.metadata.uid]);
    expect(stage.datalake.rules).toEqual([]);
  });

  it('of a deployment leaves the rule of its inputs to another one that shares it', async () => {
    stage.hpc.outcome = { phase: 'Running' };
    const first = await alice.create({ template, parameters });
    await expect.poll(() => stage.hpc.created.length).toBe(1);
    const second = await alice.create({ template, parameters });
    await expect.poll(() => stage.hpc.created.length).toBe(2);
    expect(stage.datalake.rules).toHaveLength(1);
    await alice.delete(first.uuid);
    await expect.poll(async () => await gone(first.uuid)).toBe(404);
    expect(stage.datalake.rules).toHaveLength(1);
    await alice.delete(second.uuid);
    await expect.poll(async () => await gone(second.uuid)).toBe(404);
    expect(stage.datalake.rules).toEqual([]);
  });

  it('of a complete deployment leaves its results alone', async () => {
    const { uuid } = await ends(await alice.create({ template, parameters }));
    await alice.delete(uuid);
    await expect.poll(async () => await gone(uuid)).toBe(404);
    expect(stage.datalake.rules.map(({ did }) => did)).toEqual(['drought:warning-2010-12']);
  });

  it('that hangs can be declared failed and asked for again', async () => {
    const { uuid } = await ends(await alice.create({ template, parameters }));
    stage.datalake.broken = 503;
    await alice.delete(uuid);
    await expect.poll(async () => (await alice.get(uuid)).status).toBe('DELETE_FAILED');
    stage.datalake.broken = undefined;
    await alice.delete(uuid);
    await expect.poll(async () => await gone(uuid)).toBe(404);
  });
});

async function gone(uuid: string): Promise<number> {
  const token = await stage.tokenFor('alice');
  const answer = await stage.app.inject({
    url: `/deployments/${uuid}`,
    headers: { authorization: `Bearer ${token}` },
  });
  return answer.statusCode;
}
