import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, createServer, request as httpsRequest, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  type Component,
  configured,
  type RunningComponents,
  settingsSchema,
  startComponents,
} from '@weft/kernel/component';
import { type Authority, ensureAuthority } from '@weft/kernel/pki';
import {
  createTestIssuer,
  reservePorts,
  startTestDatabase,
  type TestDatabase,
  type TestIssuer,
} from '@weft/kernel/testing';
import { storage, storageConfig } from '../src/index.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

export interface Call {
  headers?: Record<string, string | string[]>;
  body?: string | Uint8Array;
  /** Default: a token for everything. `null` sends none. */
  token?: string | null;
}

/** A running storage instance, as other programs see it. */
export interface TestDoor {
  readonly url: string;
  /** Folder of the only area. */
  readonly root: string;
  token(scope: string, claims?: Record<string, unknown>): Promise<string>;
  call(method: string, path: string, call?: Call): Promise<Answer>;
}

export interface TestSite {
  readonly database: TestDatabase;
  readonly authority: Authority;
  readonly issuer: TestIssuer;
  readonly folder: string;
  readonly agent: Agent;
  /** Starts another instance; `config` and `settings` go over the defaults. */
  startDoor(
    site: string,
    config?: Record<string, unknown>,
    settings?: Record<string, unknown>,
  ): Promise<TestDoor>;
  /** A free port, under whose URL the components that start after this may reach whoever takes it. */
  reserve(): Promise<{ port: number; url: string }>;
  /** Another component over the same database. */
  startBeside(
    component: Component,
    config: Record<string, unknown>,
    settings?: Record<string, unknown>,
  ): Promise<{ stop(): Promise<void> }>;
  /** An instance in a process of its own, to be killed; `settings` are those of the process. Its log is kept as `output`. */
  prepareProcess(
    site: string,
    config?: Record<string, unknown>,
    settings?: Record<string, unknown>,
    log?: 'kept' | 'nowhere',
  ): Promise<TestProcess>;
  /** An HTTPS server of the test's own, whose origin the doors may reach. */
  startServer(listener: Parameters<typeof createServer>[1]): Promise<string>;
  stop(): Promise<void>;
}

export interface TestProcess {
  readonly door: TestDoor;
  /** While it runs; with `processes`, of the one that the others belong to. */
  readonly pid: number | undefined;
  /** What it has written to its log so far. */
  output(): string;
  /** Those that answer requests. */
  serving(): readonly number[];
  start(): Promise<void>;
  /** kill -9, of all that belongs to it. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has ended. */
  end(): Promise<void>;
}

const EVERYTHING = 'storage.read:/ storage.modify:/';

/** A certificate authority, an issuer and a database for the doors of one test file, all of it below `parent`. */
export async function startTestSite(parent = tmpdir()): Promise<TestSite> {
  const folder = mkdtempSync(join(parent, 'weft-door-'));
  const database = await startTestDatabase();
  const authority = await ensureAuthority(join(folder, 'pki'));
  const tls = await authority.ensureServerCertificate('test', {
    commonName: 'localhost',
    hosts: ['localhost', '127.0.0.1'],
  });
  const files = { certificate: join(folder, 'server.pem'), key: join(folder, 'server.key') };
  writeFileSync(files.certificate, tls.certificate);
  writeFileSync(files.key, tls.key);
  writeFileSync(join(folder, 'secret.key'), Buffer.alloc(32, 7), { mode: 0o600 });
  const agent = new Agent({ ca: authority.certificate, keepAlive: true });
  const servers: Server[] = [];
  const running: RunningComponents[] = [];
  const children = new Set<ChildProcess>();
  // Known from the start, so that each door may reach those that start after it.
  const firstPort = await reservePorts(4);
  const ports = [0, 1, 2, 3].map((offset) => firstPort + offset);
  const origins = ports.map((port) => `https://127.0.0.1:${port}`);

  async function startServer(listener: Parameters<typeof createServer>[1]): Promise<string> {
    const server = createServer({ cert: tls.certificate, key: tls.key }, listener);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    origins.push(origin);
    return origin;
  }

  // The issuer's documents, served under the name that stands in its tokens.
  let documents: TestIssuer | undefined;
  const issuerUrl = await startServer(async (request, response) => {
    const answer = await documents?.fetch(`${issuerUrl}${request.url}`);
    response.writeHead(answer?.status ?? 503, { 'content-type': 'application/json' });
    response.end(await answer?.text());
  });
  const issuer = await createTestIssuer({ issuer: issuerUrl });
  documents = issuer;

  function prepareDoor(site: string, config: Record<string, unknown>) {
    const port = ports.pop();
    if (port === undefined) throw new Error('No port is left for another door.');
    const url = `https://127.0.0.1:${port}`;
    const root = join(folder, 'areas', site);
    const settings = settingsOf(site);
    const listen = { host: '127.0.0.1', port };
    return { url, root, settings, config: { site, listen, url, areas: [{ name: 'main', root }], ...config } };
  }

  function settingsOf(name: string): Record<string, unknown> {
    return {
      data_folder: join(folder, 'data', name),
      database: databaseOf(database, folder),
      issuers: [{ issuer: issuer.issuer }],
      secret_key_file: join(folder, 'secret.key'),
      tls: { certificate_file: files.certificate, key_file: files.key },
      outgoing: { allow_origins: origins, certificate_authorities: [authority.certificateFile] },
      log: { level: process.env.WEFT_TEST_LOG ?? 'silent' },
    };
  }

  async function describeDoor(url: string, root: string): Promise<TestDoor> {
    const token = (scope: string, claims: Record<string, unknown> = {}) =>
      issuer.token({ sub: 'alice', aud: url, scope, ...claims });
    const all = await token(EVERYTHING);
    return {
      url,
      root,
      token,
      call: (method, path, call = {}) => send(agent, method, `${url}${path}`, { token: all, ...call }),
    };
  }

  async function startDoor(
    site: string,
    config: Record<string, unknown> = {},
    settings: Record<string, unknown> = {},
  ): Promise<TestDoor> {
    const door = prepareDoor(site, config);
    const component = configured(storage, storageConfig.parse(door.config));
    const all = settingsSchema.parse({ ...door.settings, ...settings });
    running.push(await startComponents(all, [component], 'services'));
    return describeDoor(door.url, door.root);
  }

  const reserve: TestSite['reserve'] = async () => {
    const port = await reservePorts(1);
    const url = `https://127.0.0.1:${port}`;
    origins.push(url);
    return { port, url };
  };

  const startBeside: TestSite['startBeside'] = async (component, config, overrides = {}) => {
    const settings = settingsSchema.parse({ ...settingsOf(component.name), ...overrides });
    const own = configured(component, component.config.parse(config));
    const started = await startComponents(settings, [own], 'services');
    running.push(started);
    return {
      async stop() {
        running.splice(running.indexOf(started), 1);
        await started.stop();
      },
    };
  };

  async function prepareProcess(
    site: string,
    overrides: Record<string, unknown> = {},
    settingOverrides: Record<string, unknown> = {},
    log: 'kept' | 'nowhere' = 'kept',
  ): Promise<TestProcess> {
    const { url, root, settings, config } = prepareDoor(site, overrides);
    const file = join(folder, `${site}.json`);
    writeFileSync(file, JSON.stringify({ settings: { ...settings, ...settingOverrides }, config }));
    let child: ChildProcess | undefined;
    let output = '';
    return {
      door: await describeDoor(url, root),
      get pid() {
        return child?.pid;
      },
      output: () => output,
      serving: () => servingProcesses(child?.pid),
      async start() {
        child = fork(DOOR_PROCESS, [file], {
          stdio: ['ignore', log === 'kept' ? 'pipe' : 'ignore', 'inherit', 'ipc'],
        });
        children.add(child);
        child.stdout?.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
        await once(child, 'message');
      },
      async kill() {
        if (!child) return;
        const exited = once(child, 'exit');
        const serving = servingProcesses(child.pid);
        // The one that starts them again first.
        child.kill('SIGKILL');
        for (const pid of serving) killNow(pid);
        await exited;
        while (serving.some(isThere)) await sleep(10);
        children.delete(child);
      },
      async end() {
        if (!child) return;
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        await exited;
        children.delete(child);
      },
    };
  }

  return {
    database,
    authority,
    issuer,
    folder,
    agent,
    startDoor,
    reserve,
    startBeside,
    prepareProcess,
    startServer,
    async stop() {
      for (const child of children) child.kill('SIGKILL');
      for (const components of running) await components.stop();
      agent.destroy();
      for (const server of servers) server.close();
      for (const server of servers) server.closeAllConnections();
      await database.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function databaseOf({ target }: TestDatabase, folder: string): Record<string, unknown> {
  if (target.connection === undefined) return { url: String(target.url), connections: 6 };
  const { host, user, database, password } = target.connection;
  const passwordFile = join(folder, 'database.password');
  writeFileSync(passwordFile, password.reveal());
  return { socket_folder: host, user, database, password_file: passwordFile, connections: 6 };
}

/** One request whose target goes out exactly as written. */
export async function send(agent: Agent, method: string, url: string, call: Call): Promise<Answer> {
  const [, host = '', port = '', path = '/'] = /^https:\/\/([^:/]+):(\d+)(.*)$/.exec(url) ?? [];
  const body = call.body === undefined ? undefined : Buffer.from(call.body);
  const request = httpsRequest({
    agent,
    host,
    port,
    path,
    method,
    headers: {
      ...(call.token ? { authorization: `Bearer ${call.token}` } : {}),
      ...(body ? { 'content-length': String(body.length) } : {}),
      ...call.headers,
    },
  });
  request.end(body);
  const [response] = await once(request, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  return { status: response.statusCode, headers: response.headers, body: whole, text: whole.toString() };
}

const DOOR_PROCESS = fileURLToPath(new URL('./door-process.ts', import.meta.url));

/** Of a door's processes those that answer requests: the children that it has started for that, or itself. */
function servingProcesses(door: number | undefined): number[] {
  if (door === undefined) return [];
  const started = readdirSync('/proc').filter((name) => {
    try {
      const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
      if (parent !== String(door)) return false;
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(DOOR_PROCESS);
    } catch {
      // No process, or one that has ended meanwhile.
      return false;
    }
  });
  return started.length > 0 ? started.map(Number) : [door];
}

function killNow(pid: number): void {
  if (isThere(pid)) process.kill(pid, 'SIGKILL');
}

function isThere(pid: number): boolean {
  try {
    return /^State:\s+[^ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** What unfinished uploads have left in an area: nothing, when all is well. */
export function unfinished(root: string): string[] {
  return readdirSync(join(root, '.weft-staging'));
}
