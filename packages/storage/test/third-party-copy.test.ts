import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let source: TestDoor;
let target: TestDoor;
/** Waits for no partner. */
let hasty: TestDoor;
/** A partner that does what each test tells it. */
let partner: string;
let behave: (request: IncomingMessage, response: ServerResponse) => void;
let seen: IncomingMessage[];

beforeAll(async () => {
  site = await startTestSite();
  partner = await site.startServer((request, response) => {
    seen.push(request);
    behave(request, response);
  });
  source = await site.startDoor('observatory');
  target = await site.startDoor('hpc', { third_party_copy: { marker_seconds: 0.1 } });
  hasty = await site.startDoor('cloud', { third_party_copy: { idle_seconds: 1 } });
  await source.call('PUT', '/f', { body: 'Wikipedia' });
});
afterAll(async () => await site.stop());
beforeEach(() => {
  seen = [];
});

async function pull(
  path: string,
  from: string,
  headers: Record<string, string> = {},
  token?: string,
  at = target,
) {
  return await at.call('COPY', path, {
    headers: {
      source: from,
      transferheaderauthorization: `Bearer ${token ?? (await source.token('storage.read:/f'))}`,
      ...headers,
    },
  });
}

const lastLine = (text: string) => text.trimEnd().split('\n').at(-1);

describe('a pull from another of ours', () => {
  it('stores the file with its checksum, and tells its progress on the way', async () => {
    const answer = await pull('/new/f', `${source.url}/f`, { requirechecksumverification: 'true' });
    expect([answer.status, answer.headers['content-type']]).toEqual([202, 'text/plain']);
    expect(answer.text).toMatch(
      /^Perf Marker\nTimestamp: \d+\nStripe Index: 0\nStripe Bytes Transferred: 0\nTotal Stripe Count: 1\nRemoteConnections: tcp:127\.0\.0\.1:\d+\nEnd\n/,
    );
    expect(answer.text).toContain('Stripe Bytes Transferred: 9\n');
    expect(answer.text.endsWith('End\nsuccess: Created\n')).toBe(true);
    expect((await target.call('HEAD', '/new/f')).headers.digest).toBe('adler32=11e60398');
  });

  it('may come from the same storage', async () => {
    const answer = await target.call('COPY', '/same', {
      headers: {
        source: `${target.url}/new/f`,
        transferheaderauthorization: `Bearer ${await target.token('storage.read:/new')}`,
      },
    });
    expect(lastLine(answer.text)).toBe('success: Created');
  });

  it('takes dav and davs for http and https', async () => {
    const answer = await pull('/davs', `${source.url.replace('https', 'davs')}/f`);
    expect(lastLine(answer.text)).toBe('success: Created');
  });

  it('says 404 or 403 when the source does, before anything is stored', async () => {
    expect(
      (await pull('/missing', `${source.url}/missing`, {}, await source.token('storage.read:/'))).status,
    ).toBe(404);
    const refused = await pull('/refused', `${source.url}/f`, {}, await source.token('storage.read:/other'));
    expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('/f answered 403')]);
    expect(existsSync(join(target.root, 'refused'))).toBe(false);
  });

  it('replaces only when it may', async () => {
    await target.call('PUT', '/taken', { body: 'old' });
    expect((await pull('/taken', `${source.url}/f`, { overwrite: 'F' })).status).toBe(412);
    const create = await target.token('storage.create:/');
    const answer = await target.call('COPY', '/taken', {
      token: create,
      headers: { source: `${source.url}/f` },
    });
    expect(answer.status).toBe(403);
    expect(lastLine((await pull('/taken', `${source.url}/f`)).text)).toBe('success: Created');
  });
});

describe('a push to another of ours', () => {
  it('stores the file there', async () => {
    const answer = await source.call('COPY', '/f', {
      headers: {
        destination: `${target.url}/pushed/f`,
        transferheaderauthorization: `Bearer ${await target.token('storage.modify:/pushed')}`,
        requirechecksumverification: 'true',
      },
    });
    expect([answer.status, lastLine(answer.text)]).toEqual([202, 'success: Created']);
    expect((await target.call('GET', '/pushed/f')).text).toBe('Wikipedia');
  });

  it('replaces nothing over there when it must not', async () => {
    await target.call('PUT', '/there', { body: 'old' });
    const answer = await source.call('COPY', '/f', {
      headers: {
        destination: `${target.url}/there`,
        overwrite: 'F',
        transferheaderauthorization: `Bearer ${await target.token('storage.modify:/ storage.read:/')}`,
      },
    });
    expect(answer.status).toBe(412);
    expect((await target.call('GET', '/there')).text).toBe('old');
  });

  it('tells why it failed', async () => {
    const answer = await source.call('COPY', '/f', {
      headers: { destination: `${target.url}/refused`, transferheaderauthorization: 'Bearer rubbish' },
    });
    expect(lastLine(answer.text)).toMatch(/^failure: PUT https:.*\/refused answered 401/);
  });
});

describe('a request that makes no sense is refused with', () => {
  it.each([
    [400, { source: 'ftp://x/y' }],
    [400, { source: 'https://x/y', destination: 'https://x/z' }],
    [400, { credential: 'gridsite' }],
    [400, { overwrite: 'X' }],
    [400, { requirechecksumverification: 'maybe' }],
    [400, { 'x-number-of-streams': '1000' }],
    [403, { source: 'https://169.254.169.254/latest/meta-data' }],
    [403, { source: 'http://127.0.0.1:1/x' }],
  ])('%i: %j', async (status, headers) => {
    expect((await pull('/nonsense', `${source.url}/f`, headers)).status).toBe(status);
  });
});

describe('a partner', () => {
  const outcome = async (headers: Record<string, string> = {}, at = target) => {
    const answer = await pull('/lied-to', `${partner}/file`, headers, 'partner-token', at);
    expect(existsSync(join(at.root, 'lied-to'))).toBe(false);
    expect(unfinished(at.root)).toEqual([]);
    return answer.status === 202 ? lastLine(answer.text) : answer.status;
  };

  it('that sends another checksum than it says yields a failure and no file', async () => {
    behave = (_, response) =>
      response.writeHead(200, { digest: 'adler32=00000001', 'content-length': 9 }).end('Wikipedia');
    expect(await outcome()).toMatch(/^failure: .*adler32.*11e60398/);
  });

  it('that breaks off yields a failure and no file', async () => {
    behave = (_, response) => {
      response.writeHead(200, { 'content-length': 1_000_000 });
      response.write('Wikipedia');
      setTimeout(() => response.destroy(), 50);
    };
    expect(await outcome()).toMatch(/^failure: /);
  });

  it('that has more than fits yields a failure at once, and no file', async () => {
    behave = (_, response) => void response.writeHead(200, { 'content-length': 2 ** 52 }).write('Wikipedia');
    expect(await outcome()).toMatch(/^failure: .*bytes are left/);
  });

  it('that goes silent yields a failure and no file', async () => {
    behave = (_, response) =>
      void response.writeHead(200, { 'content-length': 1_000_000 }).write('Wikipedia');
    expect(await outcome({}, hasty)).toMatch(/^failure: .*nothing for too long/);
  });

  it('that tells no checksum is trusted only when none is required', async () => {
    behave = (_, response) => response.writeHead(200, { 'content-length': 9 }).end('Wikipedia');
    expect(await outcome({ requirechecksumverification: 'true' })).toMatch(/^failure: .*no checksum/);
    const trusted = await pull('/trusted', `${partner}/file`, { requirechecksumverification: 'false' });
    expect(lastLine(trusted.text)).toBe('success: Created');
  });

  it('that knows its checksum only for HEAD is asked there', async () => {
    behave = (request, response) =>
      request.method === 'HEAD'
        ? response.writeHead(200, { 'content-length': 9, digest: 'adler32=00000001' }).end()
        : response.writeHead(200, { 'content-length': 9 }).end('Wikipedia');
    expect(await outcome()).toMatch(/^failure: .*adler32/);
  });

  it('that sums its file for long is waited for, with markers', async () => {
    let summed = (): void => undefined;
    behave = (request, response) => {
      if (request.method === 'GET') return response.writeHead(200, { 'content-length': 9 }).end('Wikipedia');
      summed = () => {
        if (response.headersSent) return;
        response.writeHead(200, { 'content-length': 9, digest: 'adler32=11e60398' }).end();
      };
    };
    const { request } = await import('node:https');
    const copy = request(`${target.url}/summed`, {
      method: 'COPY',
      agent: site.agent,
      headers: {
        authorization: `Bearer ${await target.token('storage.modify:/')}`,
        source: `${partner}/file`,
        requirechecksumverification: 'true',
      },
    });
    copy.end();
    const [response] = await once(copy, 'response');
    let text = '';
    for await (const chunk of response) {
      text += String(chunk);
      if ((text.match(/^Stripe Bytes Transferred: 9$/gm)?.length ?? 0) > 2) summed();
    }
    expect(lastLine(text)).toBe('success: Created');
  });

  it('that redirects for ever yields a failure', async () => {
    behave = (_, response) => response.writeHead(302, { location: '/again' }).end();
    expect(await outcome()).toBe(502);
  });

  it('gets what TransferHeader says, and nobody else does', async () => {
    let elsewhereHeaders: IncomingMessage['headers'] | undefined;
    const elsewhere = await site.startServer((request, response) => {
      elsewhereHeaders = request.headers;
      response.writeHead(200, { 'content-length': 9 }).end('Wikipedia');
    });
    behave = (_, response) => response.writeHead(307, { location: `${elsewhere}/file` }).end();
    // The doors know the new origin only when they start after it: an unknown internal one is refused.
    expect(await outcome({ 'transferheaderx-api-key': 'k' })).toBe(403);
    expect(elsewhereHeaders).toBeUndefined();
    const late = await site.startDoor('cloud');
    const answer = await late.call('COPY', '/redirected', {
      headers: {
        source: `${partner}/file`,
        transferheaderauthorization: 'Bearer secret',
        'transferheaderx-api-key': 'k',
        transferheaderhost: 'evil',
        transferheaderconnection: 'x-api-key',
        'copy-header': 'X-Extra: e',
      },
    });
    expect(lastLine(answer.text)).toBe('success: Created');
    const asked = seen.findLast(({ method }) => method === 'GET');
    expect(asked?.headers).toMatchObject({
      authorization: 'Bearer secret',
      'x-api-key': 'k',
      'x-extra': 'e',
      host: partner.slice('https://'.length),
      connection: 'keep-alive',
    });
    // XRootD 5 knows no other spelling.
    expect(asked?.rawHeaders).toEqual(expect.arrayContaining(['Authorization', 'Want-Digest']));
    expect(elsewhereHeaders).not.toHaveProperty('authorization');
    expect(elsewhereHeaders).not.toHaveProperty('x-api-key');
  });

  it('sees the transfer end at once when the client goes away', async () => {
    let closed = false;
    behave = (_, response) => {
      response.writeHead(200, { 'content-length': 1_000_000 });
      const timer = setInterval(() => response.write('more'), 50);
      response.on('close', () => {
        clearInterval(timer);
        closed = true;
      });
    };
    const { request } = await import('node:https');
    const copy = request(`${target.url}/cancelled`, {
      method: 'COPY',
      agent: site.agent,
      headers: {
        authorization: `Bearer ${await target.token('storage.modify:/')}`,
        source: `${partner}/file`,
      },
    });
    copy.on('error', () => undefined);
    copy.on('response', (response) => response.once('data', () => copy.destroy()));
    copy.end();
    await expect.poll(() => closed).toBe(true);
    await expect.poll(() => unfinished(target.root)).toEqual([]);
    expect(readdirSync(target.root)).not.toContain('cancelled');
  });
});
