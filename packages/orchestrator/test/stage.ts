import { randomBytes } from 'node:crypto';
import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { createSecretBox } from '@weft/kernel/config';
import {
  createTestContext,
  createTestIssuer,
  createTestListener,
  fetchInto,
  startTestDatabase,
  type TestIssuer,
} from '@weft/kernel/testing';
import { type FastifyInstance, fastify } from 'fastify';
import type { z } from 'zod';
import { createOrchestratorClient, type OrchestratorClient } from '../src/client.ts';
import { configSchema, type OrchestratorConfig, orchestrator } from '../src/index.ts';
import { type FakeDatalake, startFakeDatalake } from './fake-datalake.ts';
import { type FakeSite, startFakeSite } from './fake-site.ts';
import { type Asked, fakeTokens } from './fake-tokens.ts';
import { listen } from './listen.ts';

export const URL_OF_OURS = 'https://orchestrator.test';
const SCOPES = 'openid profile offline_access';

/** The component on a real database, between fakes of its peers. */
export interface Stage {
  readonly app: FastifyInstance;
  readonly issuer: TestIssuer;
  readonly datalake: FakeDatalake;
  readonly hpc: FakeSite;
  readonly cloud: FakeSite;
  readonly context: ComponentContext<OrchestratorConfig>;
  /** What `exchange`, `refresh` and `own` were asked for. */
  readonly asked: Asked[];
  /** An address for `callback`, and what was posted there. */
  readonly callback: string;
  readonly callbacks: Record<string, unknown>[];
  /** What `worker-process.ts` needs to run the daemons on the same database. */
  readonly workerArgument: string;
  /** A token for our audience. */
  tokenFor(user: string, claims?: Record<string, unknown>): Promise<string>;
  clientOf(user: string, claims?: Record<string, unknown>): OrchestratorClient;
  startDaemons(): Promise<void>;
  stopDaemons(): Promise<void>;
  close(): Promise<void>;
}

export async function setStage(
  overrides: Partial<z.input<typeof configSchema>> = {},
  options: { peersTellEvents?: boolean } = {},
): Promise<Stage> {
  const test = await startTestDatabase({ migrations: { orchestrator: orchestrator.migrations } });
  const callbacks: Record<string, unknown>[] = [];
  const callbackApp = fastify();
  callbackApp.post<{ Body: Record<string, unknown> }>('/callback', async ({ body }) => {
    callbacks.push(body);
    return {};
  });
  const callbackUrl = await listen(callbackApp);
  const events = options.peersTellEvents === true ? test : undefined;
  const [datalake, hpc, cloud, issuer] = await Promise.all([
    startFakeDatalake(events),
    startFakeSite(2, events),
    startFakeSite(1, events),
    createTestIssuer(),
  ]);
  const config = configSchema.parse({
    listen: { port: 8445 },
    url: URL_OF_OURS,
    datalake: { url: datalake.url },
    providers: [
      { name: 'hpc', kind: 'interlink', url: hpc.url, node: 'vn-hpc', rse: 'HPC-SCRATCH' },
      { name: 'cloud', kind: 'interlink', url: cloud.url, node: 'vn-cloud', rse: 'CLOUD-DISK' },
    ],
    step_attempts: 3,
    ...overrides,
  });
  const asked: Asked[] = [];
  const secretKey = randomBytes(32);
  const origins = [datalake.url, hpc.url, cloud.url, callbackUrl];
  const context = {
    ...createTestContext({
      test,
      config,
      verifier: issuer.verifier,
      tokens: fakeTokens(asked),
      allowOrigins: origins,
    }),
    secrets: createSecretBox(secretKey),
  };
  const [definition] = await orchestrator.listeners(context);
  if (definition === undefined) throw new Error('no listener');
  const app = await createTestListener(definition, test.log);
  let daemons: Daemon[] = [];
  const stopDaemons = async () => {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
    daemons = [];
  };
  const tokenFor: Stage['tokenFor'] = async (user, claims = {}) =>
    await issuer.token({
      sub: user,
      aud: URL_OF_OURS,
      scope: SCOPES,
      'wlcg.groups': ['/drought'],
      ...claims,
    });
  return {
    app,
    issuer,
    datalake,
    hpc,
    cloud,
    context,
    asked,
    callbacks,
    callback: `${callbackUrl}/callback`,
    workerArgument: JSON.stringify({
      connection: { ...test.target.connection, password: test.target.connection?.password.reveal() },
      config,
      origins,
      secretKey: secretKey.toString('base64'),
    }),
    tokenFor,
    clientOf: (user, claims) =>
      createOrchestratorClient({
        url: URL_OF_OURS,
        fetch: fetchInto({ [URL_OF_OURS]: app }),
        token: async () => await tokenFor(user, claims),
      }),
    startDaemons: async () => {
      daemons = await Promise.all(orchestrator.daemons.map(async (daemon) => await daemon.start(context)));
    },
    stopDaemons,
    close: async () => {
      await stopDaemons();
      await Promise.all([callbackApp.close(), app.close(), datalake.close(), hpc.close(), cloud.close()]);
      await test.stop();
    },
  };
}
