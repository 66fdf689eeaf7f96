import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { request } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { authenticate } from '../src/auth/index.ts';
import {
  configured,
  defineComponent,
  type RunningComponents,
  settingsSchema,
  startComponents,
} from '../src/component/index.ts';
import type { Secret } from '../src/config/index.ts';
import { type Authority, ensureAuthority } from '../src/pki/index.ts';
import {
  createTestIssuer,
  reservePorts,
  startTestDatabase,
  type TestDatabase,
  type TestIssuer,
} from '../src/testing/index.ts';

let test: TestDatabase;
let folder: string;
let authority: Authority;
/** Takes connections and never says a word. */
let silent: Server;
const silenced: Socket[] = [];
let answering: ReturnType<typeof createHttpServer>;
let good: TestIssuer;
const running: RunningComponents[] = [];

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};
const urlOf = (server: Server) => `http://127.0.0.1:${portOf(server)}`;

beforeAll(async () => {
  test = await startTestDatabase();
  folder = mkdtempSync(path.join(tmpdir(), 'weft-start-'));
  authority = await ensureAuthority(path.join(folder, 'pki'));
  await authority.ensureServerCertificate('server', { commonName: 'localhost', hosts: ['127.0.0.1'] });
  silent = createServer((socket) => silenced.push(socket.on('error', () => undefined)));
  answering = createHttpServer(async (incoming, outgoing) => {
    const answer = await good.fetch(`${urlOf(answering)}${incoming.url}`);
    outgoing.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  for (const server of [silent, answering]) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  good = await createTestIssuer({ issuer: urlOf(answering) });
});

afterAll(async () => {
  for (const each of running) await each.stop();
  for (const socket of silenced) socket.destroy();
  silent.close();
  answering.close();
  await test.stop();
  rmSync(folder, { recursive: true });
});

/** How a configuration names the database of the test run: the shared one, or `WEFT_TEST_DATABASE_URL`. */
function databaseOf({ target }: TestDatabase, save: (password: string) => string): object {
  const reveal = (secret: string | Secret) => (typeof secret === 'string' ? secret : secret.reveal());
  if (target.connection === undefined) return { url: reveal(target.url) };
  const { host, user, database, password } = target.connection;
  return { socket_folder: host, user, database, password_file: save(reveal(password)) };
}

/** A component with one listener, started from a configuration as `weft serve` reads it. */
async function start(
  changes: Record<string, unknown>,
  requestClientCertificate = false,
): Promise<{ port: number }> {
  const port = await reservePorts(1);
  const file = (name: string, content: string | Buffer) => {
    const target = path.join(folder, name);
    writeFileSync(target, content, { mode: 0o600 });
    return target;
  };
  const settings = settingsSchema.parse({
    data_folder: path.join(folder, 'data'),
    database: databaseOf(test, (password) => file('password', password)),
    secret_key_file: file('secret.key', randomBytes(32)),
    tls: {
      certificate_file: path.join(folder, 'pki', 'server.pem'),
      key_file: path.join(folder, 'pki', 'server.key'),
    },
    outgoing: { allow_origins: [urlOf(silent), urlOf(answering)] },
    log: { level: 'silent' },
    ...changes,
  });
  const component = defineComponent({
    name: 'accounting',
    config: z.object({}),
    migrations: folder,
    daemons: [],
    listeners: ({ verifier }) => [
      {
        name: 'test',
        host: '127.0.0.1',
        port,
        url: `https://127.0.0.1:${port}`,
        options: { requestClientCertificate },
        routes: (app) => {
          app.get('/', async (incoming) => {
            const { subject } = await authenticate(incoming, verifier, ['https://service.test']);
            return { subject };
          });
        },
      },
    ],
  });
  running.push(await startComponents(settings, [configured(component, {})], 'services', { migrated: true }));
  return { port };
}

const ask = async (port: number, token?: string) => (await see(port, '/', token)).status;

interface Seen {
  status: number | undefined;
  retryAfter: string | undefined;
  text: string;
}

function see(port: number, target: string, token?: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { host: '127.0.0.1', port, path: target, ca: authority.certificate, headers };
    request({ ...options, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () =>
        resolve({ status: answer.statusCode, retryAfter: answer.headers['retry-after'], text }),
      );
    })
      .on('error', reject)
      .end();
  });
}

const claims = { sub: 'alice', aud: 'https://service.test' };
const issuers = () => [{ issuer: urlOf(silent) }, { issuer: urlOf(answering) }];

describe('a process whose issuer never answers', () => {
  it('starts and serves everybody else; only tokens of that issuer wait, and are told to come again', async () => {
    const { port } = await start({ issuers: issuers() });
    expect(silenced).toHaveLength(0);
    const token = await good.sign({
      ...claims,
      iss: urlOf(silent),
      scope: '',
      iat: Math.floor(Date.now() / 1000),
      exp: Math.floor(Date.now() / 1000) + 600,
    });
    let waiting = true;
    const waits = ask(port, token).finally(() => {
      waiting = false;
    });
    await expect.poll(() => silenced.length).toBe(1);
    expect(await ask(port)).toBe(401);
    expect(await ask(port, await good.token(claims))).toBe(200);
    expect(waiting).toBe(true);
    for (const socket of silenced) socket.destroy();
    expect(await waits).toBe(503);
    // Nobody waits again for an issuer that has just failed.
    expect(
      await see(
        port,
        '/',
        await new SignJWT({ ...claims, iss: urlOf(silent) })
          .setProtectedHeader({ alg: 'RS256' })
          .sign(good.privateKey),
      ),
    ).toMatchObject({ status: 503, retryAfter: '30' });
    const { status, text } = await see(port, '/.weft/ready');
    expect([status, JSON.parse(text).degraded]).toEqual([200, [urlOf(silent)]]);
    expect(silenced).toHaveLength(1);
  });
});

describe('a listener that asks for client certificates', () => {
  it('starts when the configuration says whom to trust', async () => {
    const authorities = path.join(folder, 'authorities');
    mkdirSync(authorities);
    const { port } = await start({ client_certificates: { authorities_folder: authorities } }, true);
    expect(await ask(port)).toBe(401);
  });

  it('does not start otherwise, and says what is missing', async () => {
    await expect(start({}, true)).rejects.toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/client certificates .* Mend: client_certificates: \{/),
    });
    await expect(
      start({ client_certificates: { authorities_folder: '/nowhere' } }, true),
    ).rejects.toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/client_certificates: .*ENOENT.* Mend:/s),
    });
  });
});

describe('the configuration of issuers', () => {
  const introspection = (token_prefix?: string) => ({
    client_id: 'weft',
    secret_file: '/nowhere/introspection.secret',
    ...(token_prefix === undefined ? {} : { token_prefix }),
  });

  it('names one issuer for every opaque token', () => {
    const { issuers } = settingsSchema.shape;
    const two = (one?: string, other?: string) =>
      issuers.safeParse([
        { issuer: 'https://a.test', introspection: introspection(one) },
        { issuer: 'https://b.test', introspection: introspection(other) },
        { issuer: 'https://c.test' },
      ]).success;
    expect([two(), two('a-'), two('a-', 'a-b'), two('a-', 'a-'), two('a-', 'b-')]).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  it('tells when the secret for introspection cannot be read', async () => {
    await expect(
      start({ issuers: [{ issuer: urlOf(silent), introspection: introspection() }] }),
    ).rejects.toMatchObject({
      exitCode: 78,
      message: expect.stringContaining('issuers.0.introspection.secret_file'),
    });
  });
});
