import { createTokenSource, createTokenVerifier, type TokenSource } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import { Secret } from '@weft/kernel/config';
import type { GuardedFetch } from '@weft/kernel/http';
import { createTestContext, createTestListener, fetchInto, startTestDatabase } from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { z } from 'zod';
import { configSchema, type IdentityConfig } from '../src/config.ts';
import { identity } from '../src/index.ts';

export const ISSUER = 'https://issuer.test';
export const ALISE = 'https://alise.test';
export const STORAGE = 'https://storage.test:8081';
export const ORCHESTRATOR = 'https://orchestrator.test';
export const DATALAKE = 'https://datalake.test';
export const ALICE = 'a7c8f3f0-0000-4000-8000-000000000001';
export const BOB = 'a7c8f3f0-0000-4000-8000-000000000002';

const { privateKey, publicKey } = await generateKeyPair('ES256');
const cliKey = privateKey;
export const secretOf = (client: string) => `${client}-secret-of-256-bits`;

/** A provider with users, clients and sites like those of the embedded default. */
export async function provider(
  changes: Partial<z.input<typeof configSchema>> = {},
): Promise<z.input<typeof configSchema>> {
  const confidential = (id: string) => ({ id, secret: secretOf(id) });
  return {
    listen: { port: 8440 },
    url: ISSUER,
    development_profile: true,
    users: [
      {
        username: 'alice',
        subject: ALICE,
        name: 'Alice Example',
        email: 'alice@example.org',
        password: 'correct horse battery',
        groups: ['/drought'],
        optional_groups: ['/drought/ops'],
        scopes: ['storage.read:/', 'storage.create:/drought', 'storage.modify:/drought', 'compute.create'],
      },
      { username: 'bob', subject: BOB, scopes: ['storage.read:/bob'] },
    ],
    clients: [
      {
        id: 'portal',
        name: 'The portal',
        secret: secretOf('portal'),
        grants: ['authorization_code', 'refresh_token'],
        redirect_uris: ['https://portal.test/callback'],
        allow: [
          { audience: STORAGE, scopes: ['openid', 'profile', 'email', 'offline_access', 'storage.read:/'] },
        ],
      },
      {
        id: 'cli',
        name: 'A command line',
        grants: [
          'authorization_code',
          'refresh_token',
          'urn:ietf:params:oauth:grant-type:device_code',
          'password',
        ],
        redirect_uris: ['http://127.0.0.1/callback'],
        allow: [
          {
            audience: STORAGE,
            scopes: ['openid', 'profile', 'offline_access', 'storage.read:/', 'wlcg.groups:*'],
          },
        ],
      },
      {
        id: 'weft-cli',
        jwk: (await exportJWK(publicKey)) as { kty: 'EC' },
        grants: ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
      },
      {
        ...confidential('datalake'),
        grants: ['client_credentials'],
        resources: [DATALAKE, 'rucio'],
        allow: [{ audience: STORAGE, scopes: ['storage.read:/', 'storage.modify:/rucio'] }],
      },
      {
        ...confidential('orchestrator'),
        grants: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange', 'refresh_token'],
        resources: [ORCHESTRATOR],
        exchange: [
          { audience: DATALAKE, scopes: ['openid', 'profile', 'wlcg.groups'], offline: true },
          {
            audience: STORAGE,
            scopes: ['storage.read:/', 'storage.create:/'],
            extras: ['storage.create:/scratch'],
          },
        ],
      },
      {
        ...confidential('storage'),
        grants: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
        resources: [STORAGE],
        allow: [{ audience: ALISE, scopes: ['alise.mapping:hpc'] }],
      },
    ],
    registration: { mode: 'open', scopes: ['storage.read:/'] },
    alise: {
      listen: { port: 8442 },
      url: ALISE,
      sites: [
        {
          name: 'hpc',
          internal: [{ name: 'hpc', issuer: 'https://idp.hpc.test' }],
          external: [{ name: 'community', issuer: ISSUER }],
          links: [
            {
              username: 'alice01',
              uid: 1001,
              display_name: 'Alice A.',
              external: [{ issuer: ISSUER, subject: ALICE }],
            },
            { username: 'odd', external: [{ issuer: 'https://op.example/', subject: 'a:b/c+d e%@x' }] },
          ],
          api_keys: [{ name: 'teapot', secret: 'abcdefghijklmnopqrstuvwxyzabcdef' }],
        },
        { name: 'cloud', api_keys: [{ name: 'teapot', secret: 'the-key-of-the-other-site-32-char' }] },
      ],
    },
    ...changes,
  };
}

export interface RunningProvider {
  context: ComponentContext<IdentityConfig>;
  fetch: GuardedFetch;
  /** Posts a form to the token endpoint. */
  token(
    form: Record<string, string> | [string, string][],
    basic?: { id: string; secret: string },
  ): Promise<Answer>;
  post(path: string, form: Record<string, string>, basic?: { id: string; secret: string }): Promise<Answer>;
  /** A token for a user, through the development profile. */
  userToken(username: string, scope?: string, audience?: string): Promise<string>;
  assertion(claims?: Record<string, unknown>): Promise<string>;
  tokensOf(client: string): TokenSource;
  /** By their addresses; for requests from other addresses (`inject` takes a `remoteAddress`). */
  readonly listeners: Readonly<Record<string, FastifyInstance>>;
  /** The listeners of another process on the same database. */
  another(): Promise<Readonly<Record<string, FastifyInstance>>>;
  stop(): Promise<void>;
}

interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

export async function startProvider(
  changes: Partial<z.input<typeof configSchema>> = {},
): Promise<RunningProvider> {
  const test = await startTestDatabase({ migrations: { identity: identity.migrations } });
  const apps: Record<string, FastifyInstance> = {};
  const opened: FastifyInstance[] = [];
  const fetch: GuardedFetch = (input, init) => fetchInto(apps)(input, init);
  const verifier = createTokenVerifier({
    issuers: [ISSUER, changes.second_issuer?.url ?? []].flat().map((issuer) => ({ issuer })),
    fetch,
    log: test.log,
    wakeUps: test.wakeUps,
  });
  const config = configSchema.parse(await provider(changes));
  const context = createTestContext({ test, config, verifier, fetch });
  await identity.prepare?.(context);
  async function openListeners(within: typeof context, into: Record<string, FastifyInstance>): Promise<void> {
    for (const definition of await identity.listeners(within)) {
      const app = await createTestListener(definition, test.log);
      into[definition.url] = app;
      opened.push(app);
    }
  }
  await openListeners(context, apps);

  async function post(
    path: string,
    form: Record<string, string> | [string, string][],
    basic?: { id: string; secret: string },
  ) {
    const credentials =
      basic === undefined ? undefined : Buffer.from(`${basic.id}:${basic.secret}`).toString('base64');
    const response = await fetch(`${ISSUER}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        ...(credentials === undefined ? {} : { authorization: `Basic ${credentials}` }),
      },
      body: new URLSearchParams(form).toString(),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
  }

  async function assertion(claims: Record<string, unknown> = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({
      iss: 'weft-cli',
      sub: 'alice',
      aud: ISSUER,
      iat: now,
      exp: now + 60,
      jti: crypto.randomUUID(),
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256' })
      .sign(cliKey);
  }

  return {
    context,
    fetch,
    post,
    token: (form, basic) => post('/token', form, basic),
    assertion,
    async userToken(username, scope, audience) {
      const { body } = await post('/token', {
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        client_id: 'weft-cli',
        assertion: await assertion({ sub: username }),
        ...(scope === undefined ? {} : { scope }),
        ...(audience === undefined ? {} : { audience }),
      });
      if (typeof body.access_token !== 'string') throw new Error(JSON.stringify(body));
      return body.access_token;
    },
    tokensOf: (client) =>
      createTokenSource({
        credentials: { issuer: ISSUER, clientId: client, clientSecret: new Secret(secretOf(client)) },
        fetch,
        log: test.log,
      }),
    listeners: apps,
    async another() {
      const others: Record<string, FastifyInstance> = {};
      await openListeners({ ...context, ...(await test.another()) }, others);
      return others;
    },
    async stop() {
      await Promise.all(opened.map((app) => app.close()));
      await test.stop();
    },
  };
}
