import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestStream } from '../src/core/checksums/digests.ts';
import { type Behaviour, type DrunkServer, drip, startDrunkServer } from './drunk-server.ts';
import { startTestSite, type TestDoor, type TestProcess, type TestSite, unfinished } from './start-door.ts';

const BLOCK_BYTES = 128 * 1024;
/** Seven blocks and a bit. */
const CONTENT = randomBytes(7 * BLOCK_BYTES + 4711);
const sums = digestStream(['adler32']);
sums.update(CONTENT);
const DIGEST = `adler32=${sums.finish().adler32}`;

let site: TestSite;
let ours: TestDoor;
let door: TestDoor;
let doomed: TestProcess;
let partner: DrunkServer;

beforeAll(async () => {
  site = await startTestSite();
  partner = await startDrunkServer(site);
  ours = await site.startDoor('observatory');
  const third_party_copy = { marker_seconds: 0.05, retry_seconds: 0.01, block_bytes: BLOCK_BYTES };
  door = await site.startDoor('hpc', { third_party_copy });
  doomed = await site.prepareProcess('cloud', { third_party_copy });
  await doomed.start();
  await ours.call('PUT', '/large', { body: CONTENT });
});
afterAll(async () => await site.stop());

/** A source that knows ranges; `body` may spoil what it sends. */
function source(body: Behaviour = () => undefined): Behaviour {
  return (request, response, asked) => {
    const [, from = '0', to = String(CONTENT.length - 1)] =
      /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const part = CONTENT.subarray(Number(from), Number(to) + 1);
    response.setHeader('content-length', part.length);
    response.setHeader('digest', DIGEST);
    body(request, response, asked);
    if (response.headersSent || request.socket.destroyed) return;
    if (request.headers.range) response.setHeader('content-range', `bytes ${from}-${to}/${CONTENT.length}`);
    response.writeHead(request.headers.range ? 206 : 200).end(part);
  };
}

async function pull(path: string, url: string, streams: number) {
  const answer = await door.call('COPY', path, {
    headers: {
      source: url,
      'x-number-of-streams': String(streams),
      requirechecksumverification: 'true',
      transferheaderauthorization: `Bearer ${await ours.token('storage.read:/')}`,
    },
  });
  const marks = [...answer.text.matchAll(/^Stripe Bytes Transferred: (\d+)$/gm)].map(([, bytes]) =>
    Number(bytes),
  );
  return { last: answer.text.trimEnd().split('\n').at(-1), marks };
}

const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');
const stored = (path: string) => sha256(readFileSync(join(door.root, path)));

describe('a pull over several streams', () => {
  it('stores the file that another of ours has, and its progress never goes back', async () => {
    const { last, marks } = await pull('/ours', `${ours.url}/large`, 4);
    expect(last).toBe('success: Created');
    expect(marks).toEqual(marks.toSorted((one, other) => one - other));
    expect(marks.at(-1)).toBe(CONTENT.length);
    expect(stored('ours')).toBe(sha256(CONTENT));
    expect((await door.call('HEAD', '/ours')).headers.digest).toBe(DIGEST);
  });

  it('asks for parts from the end, and each only once', async () => {
    const url = partner.at(
      source((request, response, asked) => {
        // The first connection is slow, as over a long distance.
        if (request.headers.range) return;
        response.writeHead(200).write(CONTENT.subarray(0, 1000));
        const timer = setInterval(() => {
          if (asked.count('GET') < 6) return;
          clearInterval(timer);
          response.end(CONTENT.subarray(1000));
        }, 5);
      }),
    );
    expect((await pull('/parts', url, 3)).last).toBe('success: Created');
    expect(stored('parts')).toBe(sha256(CONTENT));
    const ranges = partner
      .asked(url)
      .requests.map(({ headers }) => headers.range)
      .filter((range) => range);
    expect(ranges[0]).toBe(`bytes=${CONTENT.length - BLOCK_BYTES}-${CONTENT.length - 1}`);
    expect(new Set(ranges).size).toBe(ranges.length);
    expect(ranges.length).toBeGreaterThanOrEqual(5);
  });

  it('reads everything over one when the source sends no parts after all', async () => {
    const url = partner.at(
      source((request, response) => {
        if (request.headers.range)
          response.setHeader('content-length', CONTENT.length).writeHead(200).end(CONTENT);
      }),
    );
    expect((await pull('/single', url, 4)).last).toBe('success: Created');
    expect(stored('single')).toBe(sha256(CONTENT));
  });

  it('takes up parts that broke off', async () => {
    const broken = new Set<string>();
    const url = partner.at(
      source((request, response) => {
        const range = request.headers.range ?? '';
        if (broken.has(range)) return;
        broken.add(range);
        if (range === '') return;
        const [, part = ''] = /bytes=(.+)/.exec(range) ?? [];
        response.setHeader('content-range', `bytes ${part}/${CONTENT.length}`).writeHead(206).write('half');
        setTimeout(() => request.socket.destroy(), 10);
      }),
    );
    expect((await pull('/mended', url, 4)).last).toBe('success: Created');
    expect(stored('mended')).toBe(sha256(CONTENT));
  });

  it.each([
    ['has one wrong byte', (part: Buffer) => part.fill('x', 5, 6), /^failure: .*adler32/],
    ['is too short', (part: Buffer) => part.subarray(1), /^failure: /],
  ])('fails and stores nothing when a part %s', async (_, spoil, told) => {
    const url = partner.at(
      source((request, response) => {
        const [, from = '', to = ''] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
        if (from === '') return;
        const part = spoil(Buffer.from(CONTENT.subarray(Number(from), Number(to) + 1)));
        response.setHeader('content-range', `bytes ${from}-${to}/${CONTENT.length}`);
        response.setHeader('content-length', part.length).writeHead(206).end(part);
      }),
    );
    expect((await pull('/spoilt', url, 4)).last).toMatch(told);
    expect(existsSync(join(door.root, 'spoilt'))).toBe(false);
    expect(unfinished(door.root)).toEqual([]);
  });
});

describe('a copy whose client goes away', () => {
  /** Asks for a copy and leaves when the partner has been asked so. */
  async function leave(
    at: TestDoor,
    path: string,
    headers: Record<string, string>,
    method: string,
  ): Promise<void> {
    const copy = httpsRequest(`${at.url}${path}`, {
      method: 'COPY',
      agent: site.agent,
      headers: { authorization: `Bearer ${await at.token('storage.read:/ storage.modify:/')}`, ...headers },
    });
    copy.on('error', () => undefined);
    copy.end();
    const [response] = await once(copy, 'response');
    response.on('error', () => undefined);
    response.resume();
    const url = headers.source ?? headers.destination ?? '';
    await expect.poll(() => partner.asked(url).count(method)).toBeGreaterThan(0);
    copy.destroy();
  }

  it('ends a push, and removes what the other side has kept of it', async () => {
    const destination = partner.at((request, response, asked) => {
      const { method } = request;
      if (method === 'PUT') {
        // Never to its end, so that the copy is not over before the client is gone.
        request.once('data', () => request.pause());
      } else if (method === 'HEAD' && asked.count('PUT') > 0)
        response.writeHead(200, { 'content-length': 5 }).end();
      else response.writeHead(method === 'DELETE' ? 204 : 404).end();
    });
    await leave(ours, '/large', { destination }, 'PUT');
    await expect.poll(() => partner.asked(destination).count('DELETE')).toBe(1);
  });

  it('ends a pull over several streams, and leaves nothing', async () => {
    const open = new Set<unknown>();
    const url = partner.at((request, response) => {
      open.add(request);
      request.socket.on('close', () => open.delete(request));
      response.setHeader('content-length', CONTENT.length).writeHead(200).write('slow');
      drip(request, 20, () => response.write('slow'));
    });
    await leave(door, '/left', { source: url, 'x-number-of-streams': '4' }, 'GET');
    await expect.poll(() => open.size).toBe(0);
    await expect.poll(() => unfinished(door.root)).toEqual([]);
    expect(existsSync(join(door.root, 'left'))).toBe(false);
  });
});

it('a service that is killed in the middle of a copy leaves nothing, and serves again', async () => {
  const { door: victim } = doomed;
  const url = partner.at((request, response) => {
    response.setHeader('content-length', CONTENT.length).writeHead(200).write(CONTENT.subarray(0, 300_000));
    drip(request, 20, () => response.write('slow'));
  });
  const copying = victim
    .call('COPY', '/killed', { headers: { source: url, 'x-number-of-streams': '0' } })
    .then(
      () => 'answered',
      () => 'broken',
    );
  await expect.poll(() => existsSync(victim.root) && unfinished(victim.root).length).toBe(1);
  await doomed.kill();
  expect(await copying).toBe('broken');
  await doomed.start();
  expect(readdirSync(victim.root).filter((name) => !name.startsWith('.weft'))).toEqual([]);
  expect(unfinished(victim.root)).toEqual([]);
  const answer = await victim.call('COPY', '/killed', {
    headers: {
      source: `${ours.url}/large`,
      transferheaderauthorization: `Bearer ${await ours.token('storage.read:/')}`,
    },
  });
  expect(answer.text.endsWith('success: Created\n')).toBe(true);
});
