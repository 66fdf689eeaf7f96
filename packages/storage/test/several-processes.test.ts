import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { ADLER32_EMPTY, formatAdler32, updateAdler32 } from '../src/core/checksums/adler32.ts';
import {
  type Answer,
  type Call,
  send,
  startTestSite,
  type TestDoor,
  type TestProcess,
  type TestSite,
  unfinished,
} from './start-door.ts';

let site: TestSite;
let service: TestProcess;
let door: TestDoor;
let token: string;
/** Each with a connection of its own, which stays open: they come to both processes in turn. */
let agents: Agent[];
/** Serves what is copied from it, when it is let. */
let origin: string;
const waiting = new Set<() => void>();

beforeAll(async () => {
  site = await startTestSite();
  origin = await site.startServer((_request, response) => {
    waiting.add(() => response.end('late'));
  });
  service = await site.prepareProcess('observatory', {
    processes: 2,
    third_party_copy: { maximum_per_user: 3, maximum: 4 },
  });
  await service.start();
  ({ door } = service);
  token = await door.token('storage.read:/ storage.modify:/');
});
beforeEach(() => {
  agents = Array.from({ length: 6 }, () => new Agent({ ca: site.authority.certificate, keepAlive: true }));
  return () => {
    for (const agent of agents) agent.destroy();
  };
});
afterAll(async () => await site.stop());

function ask(lane: number, method: string, path: string, call: Call = {}): Promise<Answer> {
  const agent = agents[lane];
  if (!agent) throw new Error(`There is no lane ${lane}.`);
  return send(agent, method, `${door.url}${path}`, { token, ...call });
}

/** What a metric says, by process. */
async function measured(name: string): Promise<Map<string, number>> {
  const { text } = await door.call('GET', '/.weft/metrics');
  const found = new Map<string, number>();
  for (const [, labels = '', value] of text.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'gm'))) {
    const process = /process="(\d+)"/.exec(labels)?.[1] ?? '';
    found.set(process, (found.get(process) ?? 0) + Number(value));
  }
  return found;
}

/** How many processes are on the page of metrics. */
const answering = async () => sum((await measured('weft_process_answers')).values());

const KILLS = Number(process.env.WEFT_CRASH_ROUNDS ?? 2);
const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);

it('several processes answer on one port, and each of them tells what all have measured', async () => {
  const before = await measured('weft_storage_requests_total');
  for (let lane = 0; lane < agents.length; lane++)
    expect((await ask(lane, 'PUT', `/spread/${lane}`, { body: 'x' })).status).toBe(201);
  for (const lane of [0, 1, 2]) {
    const page = (await ask(lane, 'GET', '/.weft/metrics')).text;
    expect(page.match(/^# TYPE weft_storage_requests_total /gm)).toHaveLength(1);
    expect(page.match(/^weft_process_answers\{.*\} 1$/gm)).toHaveLength(2);
  }
  const after = await measured('weft_storage_requests_total');
  expect([...after.keys()].toSorted()).toEqual(['1', '2']);
  for (const [process, requests] of after)
    expect(requests - (before.get(process) ?? 0)).toBeGreaterThanOrEqual(2);
  expect(sum(after.values()) - sum(before.values())).toBe(agents.length);
});

it('a TLS session can be resumed with any process', async () => {
  const [, host = '', port = ''] = /^https:\/\/([^:]+):(\d+)/.exec(door.url) ?? [];
  const options = { host, port: Number(port), ca: site.authority.certificate };
  const open: TLSSocket[] = [];
  const first = connect(options);
  open.push(first);
  first.write('OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const [session] = await once(first, 'session');
  for (let count = 0; count < 3; count++) {
    const again = connect({ ...options, session });
    open.push(again);
    await once(again, 'secureConnect');
    expect(again.isSessionReused()).toBe(true);
  }
  for (const socket of open) socket.destroy();
});

it('parts of one file that come to different processes leave it whole, with the right checksum', async () => {
  const size = 40_000;
  await ask(0, 'PUT', '/parts', { body: 'z'.repeat(size) });
  const parts = Array.from({ length: 24 }, (_, index) => index);
  await Promise.all(
    agents.map(async (_, lane) => {
      for (const part of parts.filter((one) => one % agents.length === lane)) {
        const start = part * 1000;
        const body = String.fromCharCode(97 + part).repeat(1000);
        const headers = { 'content-range': `bytes ${start}-${start + 999}/*` };
        expect((await ask(lane, 'PUT', '/parts', { body, headers })).status).toBe(204);
      }
    }),
  );
  const content = readFileSync(join(door.root, 'parts'));
  const expected = parts.map((part) => String.fromCharCode(97 + part).repeat(1000)).join('');
  expect(content.toString()).toBe(expected.padEnd(size, 'z'));
  const digest = `adler32=${formatAdler32(updateAdler32(ADLER32_EMPTY, content))}`;
  for (const lane of [0, 1]) expect((await ask(lane, 'HEAD', '/parts')).headers.digest).toBe(digest);
});

it('limits of third-party copies count for all processes together, and a process that dies gives its part back', async () => {
  const copy = async (lane: number, user: string) => {
    const own = await door.token('storage.read:/ storage.modify:/', { sub: user });
    const asked = request(`${door.url}/copied/${user}-${lane}`, {
      agent: agents[lane],
      method: 'COPY',
      headers: { authorization: `Bearer ${own}`, source: `${origin}/${user}-${lane}` },
    });
    asked.end();
    return new Promise<number>((resolve) => {
      asked.on('response', (response) => {
        response.resume();
        response.on('error', () => undefined);
        resolve(response.statusCode ?? 0);
      });
      asked.on('error', () => resolve(0));
    });
  };
  const running = [0, 1, 2].map((lane) => copy(lane, 'bob'));
  await expect.poll(() => waiting.size).toBe(3);
  // Whichever process it comes to.
  expect([await copy(3, 'bob'), await copy(4, 'bob')]).toEqual([503, 503]);
  running.push(copy(5, 'carol'));
  await expect.poll(() => waiting.size).toBe(4);
  expect([await copy(3, 'dora'), await copy(4, 'dora')]).toEqual([503, 503]);

  const [victim = 0] = service.serving();
  process.kill(victim, 'SIGKILL');
  const again = Array.from({ length: 2 }, async () => {
    for (;;) {
      const status = await Promise.race([copy(3, 'dora'), sleep(2000, 202)]);
      if (status !== 503 && status !== 0) return status;
      await sleep(50);
    }
  });
  expect(await Promise.any(again)).toBe(202);
  const letAll = setInterval(() => {
    for (const finish of waiting) finish();
  }, 50);
  await Promise.all([...running, ...again]);
  clearInterval(letAll);
});

it('uploads go on while one of the processes is killed again and again, and each is told of once', async () => {
  const acknowledged = new Set<string>();
  const broken: string[] = [];
  const refused: number[] = [];
  const contentOf = (name: string) => Buffer.alloc(100_000 + name.length, name);
  let stop = false;
  const lanes = agents.map(async (_, lane) => {
    for (let index = 0; !stop; index++) {
      const name = `${lane}-${index}`;
      const answer = await ask(lane, 'PUT', `/f/${name}`, { body: contentOf(name) }).catch(() => undefined);
      if (answer === undefined) broken.push(name);
      else if (answer.status === 201) acknowledged.add(name);
      else refused.push(answer.status);
    }
  });
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      await expect.poll(answering).toBe(2);
      const before = acknowledged.size;
      await expect.poll(() => acknowledged.size).toBeGreaterThan(before + 10);
      const [first = 0, second = 0] = service.serving();
      process.kill(kill % 2 === 0 ? first : second, 'SIGKILL');
      // The other one goes on: nobody has to wait for the new one.
      const during = acknowledged.size;
      await expect.poll(() => acknowledged.size).toBeGreaterThan(during + 5);
    }
  } finally {
    stop = true;
    await Promise.all(lanes);
  }
  expect(refused).toEqual([]);
  await expect.poll(() => unfinished(door.root)).toEqual([]);

  const present = readdirSync(join(door.root, 'f'));
  expect([...acknowledged].filter((name) => !present.includes(name))).toEqual([]);
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  for (const name of present)
    expect(hash(readFileSync(join(door.root, 'f', name))), name).toBe(hash(contentOf(name)));
  const closed = async () => {
    const { rows } = await sql<{ path: string }>`
      select data->>'path' as path from kernel.outbox
      where component = 'storage' and type = 'file.closed' and data->>'path' like '/f/%'
      order by 1`.execute(site.database.database.sql);
    return rows.map(({ path }) => path);
  };
  await expect.poll(closed).toEqual(present.map((name) => `/f/${name}`).toSorted());
  expect(broken.length).toBeGreaterThan(0);
});

it('whoever comes while all processes are being started again waits, and is not refused', async () => {
  for (const pid of service.serving()) process.kill(pid, 'SIGKILL');
  const statuses = await Promise.all(
    agents.map(async (_, lane) => (await ask(lane, 'PUT', `/patient/${lane}`, { body: 'x' })).status),
  );
  expect(statuses).toEqual(agents.map(() => 201));
});

it('a stop lets requests end, and ends every process', async () => {
  await expect.poll(answering).toBe(2);
  const uploads = agents.map((agent, lane) => {
    const sent = request(`${door.url}/last/${lane}`, {
      agent,
      method: 'PUT',
      headers: { authorization: `Bearer ${token}`, 'content-length': 200_000 },
    });
    sent.write(Buffer.alloc(100_000));
    return sent;
  });
  await expect.poll(() => unfinished(door.root).length).toBe(agents.length);
  const pids = service.serving();
  const ended = service.end();
  for (const upload of uploads) upload.end(Buffer.alloc(100_000));
  const statuses = await Promise.all(
    uploads.map((upload) => once(upload, 'response').then(([answer]) => answer.statusCode)),
  );
  expect(statuses).toEqual(uploads.map(() => 201));
  await ended;
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
});
