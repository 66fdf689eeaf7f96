import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { createGuardedFetch, createListener } from '@weft/kernel/http';
import {
  createTestContext,
  createTestIssuer,
  startTestDatabase,
  type TestIssuer,
} from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import {
  createFtsClient,
  FINAL_FILE_STATES,
  type FtsClient,
  type FtsJob,
  TERMINAL_JOB_STATES,
} from '../src/client.ts';
import { type TransferConfig, transferConfig } from '../src/config.ts';
import { startMoveFiles } from '../src/daemons/move-files.ts';
import { transfer } from '../src/index.ts';
import { type FakeStorage, startFakeStorage } from './fake-storage.ts';

const URL_OF_SERVER = 'https://localhost:8446';

export interface TestService {
  readonly context: ComponentContext<TransferConfig>;
  readonly issuer: TestIssuer;
  readonly app: FastifyInstance;
  readonly source: FakeStorage;
  readonly destination: FakeStorage;
  /** A client with a token of `scope` for `sub`; anonymous when `sub` is null. */
  client(sub?: string | null, scope?: string): FtsClient;
  token(sub: string, scope: string, claims?: Record<string, unknown>): Promise<string>;
  /** A mover as another process would run it: its own pool and wake-ups. */
  startMover(): Promise<Daemon>;
  /** A mover in a process of its own, which the test may kill. */
  spawnMover(): Promise<ChildProcess>;
  /** Waits until the job has ended. */
  ended(jobId: string): Promise<FtsJob>;
  stop(): Promise<void>;
}

/** The service on a database of its own, with two storages in memory; no mover runs until a test starts one. */
export async function startTestService(config: Record<string, unknown> = {}): Promise<TestService> {
  const test = await startTestDatabase({ migrations: { transfer: transfer.migrations } });
  const issuer = await createTestIssuer();
  const source = await startFakeStorage('127.0.0.1');
  const destination = await startFakeStorage('localhost');
  const fetch = createGuardedFetch({ allowOrigins: [source.origin, destination.origin] });
  const context = createTestContext({
    test,
    config: transferConfig.parse({ url: URL_OF_SERVER, ...config }),
    verifier: issuer.verifier,
    fetch,
  });
  const [definition] = await transfer.listeners(context);
  if (definition === undefined) throw new Error('the component has a listener');
  const app = createListener({ ...definition.options, log: test.log, tls: { certificate: '', key: '' } });
  await definition.routes(app);
  const movers: Daemon[] = [];
  const children: ChildProcess[] = [];

  const token = (sub: string, scope: string, claims: Record<string, unknown> = {}) =>
    issuer.token({ sub, aud: URL_OF_SERVER, scope, ...claims });

  const client = (sub: string | null = 'alice', scope = 'fts') =>
    createFtsClient({
      url: URL_OF_SERVER,
      fetch: async (url, init) => {
        const answer = await app.inject({
          method: init.method as 'GET',
          url: url.slice(URL_OF_SERVER.length),
          headers: init.headers,
          ...(init.body === undefined ? {} : { payload: init.body }),
        });
        return new Response(answer.statusCode === 204 ? null : answer.body, { status: answer.statusCode });
      },
      ...(sub === null ? {} : { token: () => token(sub, scope) }),
    });

  return {
    context,
    issuer,
    app,
    source,
    destination,
    client,
    token,
    async startMover() {
      const { database, wakeUps } = await test.another();
      const mover = await startMoveFiles({ ...context, database, wakeUps });
      movers.push(mover);
      return mover;
    },
    async spawnMover() {
      const { target } = test;
      const child = spawn(process.execPath, [fileURLToPath(new URL('./mover-process.ts', import.meta.url))], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      children.push(child);
      const database =
        target.connection === undefined
          ? { url: String(target.url) }
          : { connection: { ...target.connection, password: target.connection.password.reveal() } };
      child.stdin.end(
        JSON.stringify({
          database,
          config: { url: URL_OF_SERVER, ...config },
          allowOrigins: [source.origin, destination.origin],
        }),
      );
      await once(child.stdout, 'data');
      return child;
    },
    async ended(jobId) {
      return until(`job ${jobId} has ended`, async () => {
        const job = await client().job(jobId, { files: true });
        const done =
          TERMINAL_JOB_STATES.has(job.job_state) &&
          job.files?.every(({ file_state }) => FINAL_FILE_STATES.has(file_state ?? ''));
        return done ? job : undefined;
      });
    },
    async stop() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(movers.map((mover) => mover.stop()));
      await app.close();
      await source.close();
      await destination.close();
      await fetch.close();
      await test.stop();
    },
  };
}

/** Asks until the answer is not undefined; fails after `seconds`. */
export async function until<Value>(
  what: string,
  ask: () => Promise<Value | undefined>,
  seconds = 60,
): Promise<Value> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`Waited ${seconds} s, but not: ${what}`);
    await sleep(10);
  }
}

/** Events of the component in the order of the outbox. */
export async function outbox(context: ComponentContext<TransferConfig>) {
  const { rows } = await sql<{ type: string; subject: string; data: Record<string, unknown> }>`
    select type, subject, data from kernel.outbox where component = 'transfer' order by id
  `.execute(context.database.sql);
  return rows;
}
