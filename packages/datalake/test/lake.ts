import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenRequest, TokenSource } from '@weft/kernel/auth';
import {
  createTestContext,
  createTestIssuer,
  createTestListener,
  fetchInto,
  startTestDatabase,
} from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';
import { configSchema, type DatalakeConfig } from '../src/config.ts';
import type { Lake } from '../src/core/lake.ts';
import { datalake } from '../src/index.ts';

export const URL_OF_LAKE = 'https://lake.test';
export const URL_OF_FTS = 'https://fts.test';

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  /** The body as one JSON value. */
  json(): unknown;
  /** The body as JSON lines. */
  lines(): unknown[];
}

export interface TestLake {
  readonly lake: Lake;
  readonly app: FastifyInstance;
  /** Tokens that the datalake asked its issuer for. */
  readonly minted: TokenRequest[];
  tokenOf(user: string, claims?: Record<string, unknown>): Promise<string>;
  /** A call with the token of a user (`root`, `alice`, `bob`, or `undefined` for none). */
  call(
    user: string | undefined,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Reply>;
  stop(): Promise<void>;
}

export async function startTestLake(
  options: {
    fts?: FastifyInstance;
    storages?: Record<string, FastifyInstance>;
    config?: Partial<Record<keyof DatalakeConfig, unknown>>;
  } = {},
): Promise<TestLake> {
  const test = await startTestDatabase({ migrations: { datalake: datalake.migrations } });
  const issuer = await createTestIssuer();
  const passwordFile = join(await mkdtemp(join(tmpdir(), 'weft-test-')), 'password');
  await writeFile(passwordFile, 'secret\n', { mode: 0o600 });
  const identity = (sub: string) => ({ type: 'OIDC', identity: `SUB=${sub}, ISS=${issuer.issuer}` });
  const config = configSchema.parse({
    url: URL_OF_LAKE,
    accounts: [
      {
        name: 'root',
        type: 'SERVICE',
        admin: true,
        identities: [identity('root'), { type: 'USERPASS', username: 'ddmlab', password_file: passwordFile }],
      },
      { name: 'alice', email: 'alice@example.org', identities: [identity('alice')] },
      { name: 'bob', identities: [identity('bob')], limits: [] },
    ],
    scopes: [
      { name: 'drought', account: 'alice' },
      { name: 'user.bob', account: 'bob' },
    ],
    ...(options.fts ? { transfer: { url: URL_OF_FTS } } : {}),
    ...options.config,
  });
  const minted: TokenRequest[] = [];
  const tokens: TokenSource = {
    own: async (request) => {
      minted.push(request);
      return `token for ${request.audience}: ${request.scopes.join(' ')}`;
    },
    exchange: () => Promise.reject(new Error('the datalake exchanges nothing')),
    refresh: () => Promise.reject(new Error('the datalake refreshes nothing')),
  };
  const fetch = fetchInto({ ...options.storages, ...(options.fts ? { [URL_OF_FTS]: options.fts } : {}) });
  const lake: Lake = createTestContext({ test, config, verifier: issuer.verifier, tokens, fetch });
  await datalake.prepare?.(lake);
  const [listener] = await datalake.listeners(lake);
  if (!listener) throw new Error('the datalake has a listener');
  const app = await createTestListener(listener, test.log);

  const tokenOf = (user: string, claims: Record<string, unknown> = {}) =>
    issuer.token({ sub: user, aud: URL_OF_LAKE, scope: 'openid profile', ...claims });

  return {
    lake,
    app,
    minted,
    tokenOf,
    async call(user, method, path, body, headers = {}) {
      const authentication: Record<string, string> =
        user === undefined ? {} : { 'x-rucio-auth-token': await tokenOf(user) };
      const response = await fetchInto({ [URL_OF_LAKE]: app })(`${URL_OF_LAKE}${path}`, {
        method,
        headers: { ...authentication, ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        text,
        json: () => JSON.parse(text),
        lines: () =>
          text
            .split('\n')
            .slice(0, -1)
            .map((line) => JSON.parse(line)),
      };
    },
    async stop() {
      await app.close();
      await test.stop();
    },
  };
}

/** Three RSEs in a triangle, each with a WebDAV protocol. */
export async function makeFederation(
  lake: TestLake,
  names: readonly string[] = ['OBS-DISK', 'HPC-SCRATCH', 'CLOUD-DISK'],
): Promise<void> {
  for (const [index, rse] of names.entries()) {
    await expectStatus(201, lake.call('root', 'POST', `/rses/${rse}`, { deterministic: true }));
    await expectStatus(
      201,
      lake.call('root', 'POST', `/rses/${rse}/attr/site`, { value: rse.split('-')[0] }),
    );
    await expectStatus(
      201,
      lake.call('root', 'POST', `/rses/${rse}/protocols/davs`, {
        hostname: `127.0.0.${11 + index}`,
        port: 8081 + index,
        prefix: '/rucio',
        impl: 'rucio.rse.protocols.webdav.Default',
        domains: {
          lan: { read: 1, write: 1, delete: 1 },
          wan: { read: 1, write: 1, delete: 1, third_party_copy_read: 1, third_party_copy_write: 1 },
        },
      }),
    );
  }
  for (const source of names) {
    for (const destination of names) {
      if (source === destination) continue;
      await expectStatus(
        201,
        lake.call('root', 'POST', `/rses/${source}/distances/${destination}`, { distance: 1 }),
      );
    }
  }
}

export async function expectStatus(status: number, reply: Promise<Reply>): Promise<Reply> {
  const got = await reply;
  if (got.status !== status) throw new Error(`expected ${status}, got ${got.status}: ${got.text}`);
  return got;
}
