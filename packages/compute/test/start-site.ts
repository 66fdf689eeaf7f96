import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { authenticate, type TokenSource } from '@weft/kernel/auth';
import type { Daemon } from '@weft/kernel/component';
import { createSecretBox } from '@weft/kernel/config';
import { registerEventRoutes } from '@weft/kernel/events';
import { createGuardedFetch, createListener, type GuardedFetch } from '@weft/kernel/http';
import { ensureAuthority } from '@weft/kernel/pki';
import { createTestContext, createTestIssuer, reservePorts, startTestDatabase } from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';
import { type ComputeClient, createComputeClient, type PodManifest, type PodStatus } from '../src/client.ts';
import { configSchema } from '../src/config.ts';
import { compute } from '../src/index.ts';
import type { ComputeContext } from '../src/sites.ts';

export const NODE_IMAGE = 'docker.io/library/node:24-alpine';

export interface StartSiteOptions {
  slots?: number;
  /** More of the site's configuration. */
  site?: Record<string, unknown>;
  /** More of the component's. */
  config?: Record<string, unknown>;
  tokens?: TokenSource;
  /** Default true. Without daemons, `services-process.ts` may run them. */
  daemons?: boolean;
  /** Answers requests to other components; `undefined` lets them go out. */
  peers?: (url: URL, init: Parameters<GuardedFetch>[1]) => Promise<Response | undefined>;
}

/** A site `hpc` with its API on a port of its own, over TLS, with all its daemons. */
export async function startSite(options: StartSiteOptions = {}) {
  const test = await startTestDatabase({ migrations: { compute: compute.migrations } });
  const issuer = await createTestIssuer();
  const folder = mkdtempSync(join(tmpdir(), 'weft-compute-'));
  const authority = await ensureAuthority(folder);
  const tls = await authority.ensureServerCertificate('site', {
    commonName: '127.0.0.1',
    hosts: ['127.0.0.1'],
  });
  const port = await reservePorts(1);
  const url = `https://127.0.0.1:${port}`;
  const fetch = createGuardedFetch({ allowOrigins: [url], certificateAuthorities: [authority.certificate] });
  const config = configSchema.parse({
    ...options.config,
    sites: [
      {
        name: 'hpc',
        node: 'vn-hpc',
        listen: { host: '127.0.0.1', port },
        url,
        backend: 'sandbox',
        slots: options.slots ?? 2,
        images: { [NODE_IMAGE]: 'builtin:node' },
        work_folder: join(folder, 'jobs'),
        scratch: { folder: join(folder, 'scratch') },
        ...options.site,
      },
    ],
  });
  const secretKey = randomBytes(32);
  const made = createTestContext({
    test,
    config,
    verifier: issuer.verifier,
    ...(options.tokens === undefined ? {} : { tokens: options.tokens }),
    fetch: async (input, init) => (await options.peers?.(new URL(input), init)) ?? fetch(input, init),
  });
  const context: ComputeContext = { ...made, secrets: createSecretBox(secretKey) };
  await compute.prepare?.(context);

  const listeners: FastifyInstance[] = [];
  for (const definition of await compute.listeners(context)) {
    const app = createListener({ ...definition.options, log: test.log, tls });
    if (definition.events) {
      registerEventRoutes(app, {
        database: test.database,
        wakeUps: test.wakeUps,
        component: 'compute',
        visible: definition.events,
        authenticate: (request) => authenticate(request, issuer.verifier, [definition.url]),
      });
    }
    await definition.routes(app);
    await app.listen({ host: definition.host, port: definition.port });
    listeners.push(app);
  }
  let daemons: Daemon[] = [];
  const startDaemons = async () => {
    daemons = await Promise.all(compute.daemons.map((daemon) => daemon.start(context)));
  };
  const stopDaemons = async () => {
    await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()));
  };
  if (options.daemons !== false) await startDaemons();

  const token = (claims: Record<string, unknown> = {}) =>
    issuer.token({ sub: 'alice', aud: url, scope: 'compute.read compute.create compute.cancel', ...claims });
  const clientOf = (claims?: Record<string, unknown>): ComputeClient =>
    createComputeClient({ url, fetch, token: () => token(claims) });

  return {
    url,
    folder,
    test,
    context,
    secretKey,
    issuer,
    fetch,
    token,
    clientOf,
    alice: clientOf(),
    startDaemons,
    stopDaemons,
    async stop() {
      await stopDaemons();
      await Promise.all(listeners.map((app) => app.close()));
      await fetch.close();
      await test.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export type RunningSite = Awaited<ReturnType<typeof startSite>>;

/** A pod with one container `main` on the Node image. */
export function podOf(
  name: string,
  container: Record<string, unknown>,
  more: { annotations?: Record<string, string>; spec?: Record<string, unknown> } = {},
): PodManifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: randomUUID(), annotations: more.annotations ?? {} },
    spec: {
      restartPolicy: 'Never',
      containers: [{ name: 'main', image: NODE_IMAGE, ...container }],
      ...more.spec,
    },
  };
}

/** The pod's status as soon as it is what is wanted. */
export async function until(
  client: ComputeClient,
  pod: PodManifest,
  wanted: (status: PodStatus) => boolean,
): Promise<PodStatus> {
  let last: PodStatus | undefined;
  // Far beyond what a busy machine needs.
  const deadline = performance.now() + 90_000;
  while (performance.now() < deadline) {
    [last] = await client.status([pod]);
    if (last !== undefined && wanted(last)) return last;
    await sleep(20);
  }
  throw new Error(`not reached: ${JSON.stringify(last)}`);
}

export const isOver = ({ phase }: PodStatus) => phase === 'Succeeded' || phase === 'Failed';

export async function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return new Response(stream).text();
}
