import type { TokenSource } from '@weft/kernel/auth';
import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { Secret } from '@weft/kernel/config';
import {
  createTestContext,
  createTestIssuer,
  createTestListener,
  fetchInto,
  startTestDatabase,
  type TestIssuer,
} from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { createOrchestratorClient, type OrchestratorClient } from '../src/client.ts';
import { configSchema, type OrchestratorConfig, orchestrator } from '../src/index.ts';
import { type FakeDatalake, startFakeDatalake } from './fake-datalake.ts';
import { type FakeSite, startFakeSite } from './fake-site.ts';

export const URL_OF_OURS = 'https://orchestrator.test';
export const SCOPES = 'openid profile offline_access';

/** The component on a real database, between fakes of its peers. */
export interface Stage {
  readonly app: FastifyInstance;
  readonly issuer: TestIssuer;
  readonly datalake: FakeDatalake;
  readonly hpc: FakeSite;
  readonly cloud: FakeSite;
  readonly context: ComponentContext<OrchestratorConfig>;
  /** What `exchange`, `refresh` and `own` were asked for. */
  readonly asked: { grant: string; audience: string; scopes: readonly string[] }[];
  readonly callbacks: Record<string, unknown>[];
  /** A token for our audience. */
  tokenFor(user: string, claims?: Record<string, unknown>): Promise<string>;
  clientOf(user: string, claims?: Record<string, unknown>): OrchestratorClient;
  startDaemons(): Promise<void>;
  stopDaemons(): Promise<void>;
  close(): Promise<void>;
}

export async function setStage(overrides: Partial<z.input<typeof configSchema>> = {}): Promise<Stage> {
  const test = await startTestDatabase({ migrations: { orchestrator: orchestrator.migrations } });
  const [datalake, hpc, cloud, issuer] = await Promise.all([
    startFakeDatalake(),
    startFakeSite(2),
    startFakeSite(1),
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
  const asked: Stage['asked'] = [];
  const context = createTestContext({
    test,
    config,
    verifier: issuer.verifier,
    tokens: fakeTokens(asked),
    allowOrigins: [datalake.url, hpc.url, cloud.url],
  });
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
    callbacks: [],
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
      await Promise.all([app.close(), datalake.close(), hpc.close(), cloud.close()]);
      await test.stop();
    },
  };
}

function fakeTokens(asked: Stage['asked']): TokenSource {
  const note = (grant: string, audience: string, scopes: readonly string[]) =>
    asked.push({ grant, audience, scopes });
  return {
    async own({ audience, scopes }) {
      note('own', audience, scopes);
      return `own-for-${audience}`;
    },
    async exchange(_subject, { audience, scopes }) {
      note('exchange', audience, scopes);
      return {
        accessToken: `exchanged-for-${audience}`,
        // About to end, so that the refresh token is used.
        expiresAt: new Date(Date.now() + 10_000),
        scopes,
        refreshToken: new Secret(`refresh-for-${audience}`),
      };
    },
    async refresh(_token, { audience, scopes }) {
      note('refresh', audience, scopes);
      return {
        accessToken: `refreshed-for-${audience}`,
        expiresAt: new Date(Date.now() + 3_600_000),
        scopes,
      };
    },
  };
}
