import { mkdtemp } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { HTTP } from 'cloudevents';
import { sql } from 'kysely';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { emit, startDelivery, subscriptionSchema } from '../src/events/index.ts';
import { createGuardedFetch } from '../src/http/index.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';
import { listDeadWork, retryDeadWork } from '../src/work/index.ts';
import { startTestBroker } from './stomp-broker.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const OLD_SECRET = `whsec_${Buffer.alloc(24, 8).toString('base64')}`;

let db: TestDatabase;
beforeAll(async () => {
  db = await startTestDatabase();
});
afterAll(async () => await db.stop());

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await sql`truncate kernel.event_deliveries, kernel.event_cursors, kernel.work, kernel.dead_work`.execute(
    db.database.sql,
  );
});

async function emitNow(...events: { subject: string; data?: unknown; type?: string }[]): Promise<void> {
  await db.database.transaction(async (tx) => {
    await emit(
      tx,
      db.wakeUps,
      'datalake',
      events.map(({ subject, data = {}, type = 'rule.ok' }) => ({ type, subject, data })),
    );
  });
}

interface Request {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Receiver {
  readonly url: string;
  readonly requests: readonly Request[];
  /** Subjects in the order in which they were accepted. */
  accepted(): string[];
}

type Verdict = { status: number; headers?: Record<string, string> };

/** A webhook receiver; `judge` answers each request. */
async function startReceiver(
  judge: (subject: string) => Verdict = () => ({ status: 204 }),
): Promise<Receiver> {
  const requests: Request[] = [];
  const accepted: string[] = [];
  const server: Server = createServer((request, response) => {
    void text(request).then((body) => {
      const { headers } = request;
      requests.push({ headers, body });
      const event = HTTP.toEvent({ headers, body });
      const subject = String((Array.isArray(event) ? event[0] : event)?.subject);
      const verdict = judge(subject);
      if (verdict.status < 300) accepted.push(subject);
      response.writeHead(verdict.status, verdict.headers).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { url: `http://127.0.0.1:${address.port}`, requests, accepted: () => accepted };
}

/** Delivers in as many processes as wanted, and waits until the subscription has its place in the stream. */
async function deliver(
  configured: z.input<typeof subscriptionSchema>,
  options: { processes?: number; certificateAuthorities?: readonly string[] } = {},
): Promise<void> {
  const subscription = subscriptionSchema.parse(configured);
  const origins = configured.webhook === undefined ? [] : [new URL(configured.webhook.url).origin];
  for (let process = 0; process < (options.processes ?? 1); process++) {
    const { database, wakeUps } = process === 0 ? db : await db.another();
    const daemon = startDelivery(subscription, {
      database,
      wakeUps,
      log: db.log,
      fetch: createGuardedFetch({ allowOrigins: origins }),
      certificateAuthorities: options.certificateAuthorities ?? [],
    });
    ends.push(async () => await daemon.stop());
  }
  await expect
    .poll(async () => {
      const { rows } = await sql`select from kernel.event_cursors
        where name = ${`deliver:${subscription.name}`}`.execute(db.database.sql);
      return rows.length;
    })
    .toBe(1);
}

const common = { name: 'ops', component: 'datalake' } as const;

describe('webhooks', () => {
  test('a receiver with the Standard Webhooks library accepts the signature, and CloudEvents the event', async () => {
    const receiver = await startReceiver();
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET, previous_secret: OLD_SECRET } });
    await emitNow({ subject: 'drought:climdiv', data: { bytes: 7 } });
    await expect.poll(() => receiver.requests.length).toBe(1);
    const { headers, body } = receiver.requests[0] ?? { headers: {}, body: '' };
    const signed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    for (const secret of [SECRET, OLD_SECRET]) {
      expect(new Webhook(secret).verify(body, signed)).toMatchObject({ subject: 'drought:climdiv' });
    }
    expect(() => new Webhook(SECRET).verify(`${body} `, signed)).toThrow();
    expect(HTTP.toEvent({ headers, body })).toMatchObject({
      type: 'rule.ok',
      source: '/datalake',
      subject: 'drought:climdiv',
      data: { bytes: 7 },
    });
  });

  test('binary mode carries attributes in headers, whatever characters a subject has', async () => {
    const receiver = await startReceiver();
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET, mode: 'binary' } });
    await emitNow({ subject: 'drought:50 % "größer" 🌊\n', data: [1, 2] });
    await expect.poll(() => receiver.requests.length).toBe(1);
    const { headers, body } = receiver.requests[0] ?? { headers: {}, body: '' };
    expect(JSON.parse(body)).toEqual([1, 2]);
    expect(headers['ce-subject']).toMatch(/^[\x21-\x7e]+$/);
    expect(decodeURIComponent(String(headers['ce-subject']))).toBe('drought:50 % "größer" 🌊\n');
  });

  test('only the types and subjects that were asked for are sent, and nothing from before', async () => {
    const receiver = await startReceiver();
    await emitNow({ subject: 'a/before' });
    await deliver({
      ...common,
      types: ['rule.ok'],
      subject: 'a/',
      webhook: { url: receiver.url, secret: SECRET },
    });
    await emitNow(
      { subject: 'a/1' },
      { subject: 'b/1' },
      { subject: 'a/2', type: 'other' },
      { subject: 'a/3' },
    );
    await expect.poll(() => receiver.requests.length).toBe(2);
    expect(receiver.accepted().sort()).toEqual(['a/1', 'a/3']);
  });

  test('a refused event is sent again under the same id, before later ones of its subject', async () => {
    let failures = 0;
    const receiver: Receiver = await startReceiver((subject) => {
      if (subject !== 'bad' || (failures >= 2 && receiver.accepted().includes('good')))
        return { status: 200 };
      failures += 1;
      return { status: 503 };
    });
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET } });
    await emitNow({ subject: 'bad', data: 1 }, { subject: 'good' }, { subject: 'bad', data: 2 });
    await expect.poll(() => receiver.accepted().length).toBe(3);
    const bad = receiver.requests.filter(({ body }) => JSON.parse(body).subject === 'bad');
    expect(bad.map(({ body }) => JSON.parse(body).data)).toEqual([...Array(failures + 1).fill(1), 2]);
    expect(new Set(bad.slice(0, -1).map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(receiver.accepted()).toEqual(['good', 'bad', 'bad']);
  });

  test('a receiver that is gone makes a dead letter, and its retry continues where it stopped', async () => {
    let gone = true;
    const receiver = await startReceiver(() => ({ status: gone ? 410 : 200 }));
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET } });
    await emitNow({ subject: 's', data: 1 });
    const queue = 'events.deliver-ops';
    await expect.poll(async () => (await listDeadWork(db.database.sql, { queue })).length).toBe(1);
    await emitNow({ subject: 's', data: 2 });
    gone = false;
    expect(await retryDeadWork(db.database, db.wakeUps, { queue })).toBe(1);
    await expect.poll(() => receiver.accepted().length).toBe(2);
    expect(receiver.requests.map(({ body }) => JSON.parse(body).data)).toEqual([1, 1, 2]);
  });

  test('Retry-After is obeyed', async () => {
    let busy = true;
    const times: number[] = [];
    const receiver = await startReceiver(() => {
      times.push(performance.now());
      const first = busy;
      busy = false;
      return first ? { status: 429, headers: { 'retry-after': '1' } } : { status: 200 };
    });
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET } });
    await emitNow({ subject: 's' });
    await expect.poll(() => receiver.accepted().length).toBe(1);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test('a redirect is a failure, not a way to another address', async () => {
    const receiver = await startReceiver(() => ({
      status: 307,
      headers: { location: 'http://169.254.169.254/latest' },
    }));
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET } });
    await emitNow({ subject: 's' });
    // A busy machine may look only after it was tried again.
    await expect.poll(() => receiver.requests.length).toBeGreaterThanOrEqual(1);
    await expect
      .poll(async () => {
        const { rows } = await sql<{ last_error: string | null }>`select last_error from kernel.work`.execute(
          db.database.sql,
        );
        return rows[0]?.last_error;
      })
      .toMatch(/answers 307/);
  });

  test('several processes deliver each event once and in order per subject', async () => {
    const receiver = await startReceiver();
    await deliver({ ...common, webhook: { url: receiver.url, secret: SECRET } }, { processes: 3 });
    for (let round = 0; round < 20; round++) {
      await emitNow(...['a', 'b', 'c'].map((subject) => ({ subject, data: round })));
    }
    await expect.poll(() => receiver.requests.length).toBe(60);
    for (const subject of ['a', 'b', 'c']) {
      const rounds = receiver.requests
        .map(({ body }) => JSON.parse(body))
        .filter((event) => event.subject === subject)
        .map((event) => event.data);
      expect(rounds).toEqual(Array.from({ length: 20 }, (_, round) => round));
    }
    await expect
      .poll(async () => {
        const { rows } = await sql`select from kernel.event_deliveries`.execute(db.database.sql);
        return rows.length;
      })
      .toBe(0);
  });
});

describe('STOMP', () => {
  test('events reach the broker over TLS, also the one whose receipt was lost with the connection', async () => {
    const broker = await startTestBroker(await mkdtemp(join(tmpdir(), 'weft-test-broker-')));
    ends.push(broker.stop);
    await deliver(
      { ...common, stomp: { url: broker.url, destination: '/topic/weft', login: 'weft', passcode: 'x' } },
      { certificateAuthorities: [broker.certificateAuthority] },
    );
    await emitNow({ subject: 'drought:a', data: { n: 1 } });
    await expect.poll(() => broker.sent.length).toBe(1);
    expect(broker.sent[0]?.headers).toMatchObject({
      destination: '/topic/weft',
      event_type: 'rule.ok',
      subject: 'drought:a',
      persistent: 'true',
    });
    expect(JSON.parse(broker.sent[0]?.body ?? '')).toMatchObject({ type: 'rule.ok', data: { n: 1 } });
    broker.breakOnce();
    await emitNow({ subject: 'drought:b' });
    await expect.poll(() => broker.sent.length).toBe(2);
  });

  test('a broker that refuses the login, or has a certificate of another authority, is a failed attempt', async () => {
    const broker = await startTestBroker(await mkdtemp(join(tmpdir(), 'weft-test-broker-')));
    ends.push(broker.stop);
    const stomp = { url: broker.url, destination: '/topic/weft' };
    await deliver(
      { ...common, stomp: { ...stomp, login: 'intruder' } },
      { certificateAuthorities: [broker.certificateAuthority] },
    );
    await deliver({ ...common, name: 'distrustful', stomp });
    await emitNow({ subject: 's' });
    const reasons = async () => {
      const { rows } = await sql<{ last_error: string | null }>`
        select last_error from kernel.work order by queue`.execute(db.database.sql);
      return rows.map((row) => row.last_error ?? '').join(' | ');
    };
    await expect.poll(reasons).toMatch(/certificate.* \| .*Bad CONNECT/);
    expect(broker.sent).toEqual([]);
  });
});

test('a subscription without exactly one receiver, or with a weak secret, is refused', () => {
  const problems = (value: unknown) => subscriptionSchema.safeParse(value).error?.issues.length ?? 0;
  const webhook = { url: 'https://example.org/hook', secret: SECRET };
  expect(problems({ ...common, webhook })).toBe(0);
  expect(problems(common)).toBeGreaterThan(0);
  expect(
    problems({ ...common, webhook, stomp: { url: 'stomps://b:61614', destination: '/t' } }),
  ).toBeGreaterThan(0);
  expect(problems({ ...common, webhook: { ...webhook, secret: 'whsec_c2hvcnQ=' } })).toBeGreaterThan(0);
});
