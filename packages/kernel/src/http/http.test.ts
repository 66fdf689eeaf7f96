import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WeftError } from '../errors/index.ts';
import { type Authority, ensureAuthority, type TlsMaterial } from '../pki/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { createGuardedFetch, createListener, isInternalAddress, type ListenerOptions } from './index.ts';

let folder: string;
let authority: Authority;
let tls: TlsMaterial;
const open: FastifyInstance[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-http-'));
  authority = await ensureAuthority(folder);
  tls = await authority.ensureServerCertificate('test', {
    commonName: 'localhost',
    hosts: ['localhost', '127.0.0.1'],
  });
});
afterAll(async () => {
  await Promise.all(open.map((app) => app.close()));
  rmSync(folder, { recursive: true });
});

async function serve(routes: (app: FastifyInstance) => void, options: ListenerOptions = {}): Promise<string> {
  const app = createListener({ ...options, log: createLogger({ name: 'test', level: 'silent' }), tls });
  routes(app);
  open.push(app);
  return (await app.listen({ host: '127.0.0.1', port: 0 })).replace(/\/$/, '');
}

const trusting = (...origins: string[]) =>
  createGuardedFetch({ allowOrigins: origins, certificateAuthorities: [authority.certificate] });

describe('a listener', () => {
  it('takes a JSON body on GET, an empty JSON body on DELETE and a body without a type', async () => {
    const url = await serve((app) => {
      app.route({
        method: ['GET', 'DELETE', 'PUT'],
        url: '/echo',
        handler: async (request) => ({ body: request.body ?? null }),
      });
    });
    const fetch = trusting(url);
    const deleted = await fetch(`${url}/echo`, {
      method: 'DELETE',
      headers: { 'content-type': 'application/json' },
    });
    expect(await deleted.json()).toEqual({ body: null });
    const put = await fetch(`${url}/echo`, { method: 'PUT', body: Uint8Array.of(104, 105) });
    expect(await put.json()).toEqual({ body: { type: 'Buffer', data: [104, 105] } });
    expect(await rawGet(url, '/echo', '[{"name":"pod"}]')).toContain('{"body":[{"name":"pod"}]}');
  });

  it('breaks the connection on which a body trickles in, before it is whole and after it was refused', async () => {
    const url = await serve(
      (app) => {
        app.post('/whole', async ({ body }) => ({ body }));
        app.get(
          '/unread',
          { onRequest: async (_request, reply) => reply.code(401).send('no') },
          async () => 'never',
        );
      },
      { bodyMilliseconds: 300 },
    );
    for (const [line, answer] of [
      ['POST /whole', ''],
      ['GET /unread', 'HTTP/1.1 401 Unauthorized'],
    ] as const) {
      const socket = connect({
        host: '127.0.0.1',
        port: Number(new URL(url).port),
        ca: authority.certificate,
      });
      let received = '';
      socket.on('data', (chunk) => {
        received += chunk;
      });
      socket.on('error', () => undefined);
      socket.write(`${line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n`);
      const trickle = setInterval(() => socket.write('x'), 50);
      await new Promise((resolve) => socket.on('close', resolve));
      clearInterval(trickle);
      expect(received.split('\r\n')[0]).toBe(answer);
    }
  });

  it('collapses slashes for routing, keeps the raw target, and routes parameters of thousands of characters', async () => {
    const url = await serve(
      (app) => {
        app.get('/jobs/:ids', async (request) => ({ raw: request.rawTarget.length }));
        app.get('/whoami', async (request) => ({ raw: request.rawTarget }));
      },
      { collapseSlashes: true },
    );
    const fetch = trusting(url);
    expect(await (await fetch(`${url}//whoami?a=b//c`)).json()).toEqual({ raw: '//whoami?a=b//c' });
    const ids = 'x'.repeat(7000);
    expect(await (await fetch(`${url}/jobs/${ids}`)).json()).toEqual({ raw: 7006 });
  });

  it('answers bad JSON, unknown routes and thrown errors as problems, and hides the text of unexpected ones', async () => {
    const url = await serve((app) => {
      app.post('/json', async () => 'never');
      app.get('/conflict', async () => {
        throw new WeftError('conflict', 'taken', 'The name is taken.');
      });
      app.get('/crash', async () => {
        throw new Error('secret detail');
      });
    });
    const fetch = trusting(url);
    const bad = await fetch(`${url}/json`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    expect(bad.status).toBe(400);
    const conflict = await fetch(`${url}/conflict`);
    expect(conflict.status).toBe(409);
    expect(await conflict.json()).toMatchObject({ title: 'taken', detail: 'The name is taken.' });
    const crash = await fetch(`${url}/crash`);
    expect(crash.status).toBe(500);
    expect(await crash.text()).not.toContain('secret detail');
    expect((await fetch(`${url}/nowhere`)).status).toBe(404);
  });

  it('accepts headers of 100 KiB', async () => {
    const url = await serve((app) =>
      app.get('/', async (request) => String(request.headers['x-long']).length),
    );
    const response = await trusting(url)(`${url}/`, { headers: { 'x-long': 'y'.repeat(100_000) } });
    expect(await response.text()).toBe('100000');
  });
});

describe('outgoing requests', () => {
  it('refuse loopback unless the exact origin is allowed', async () => {
    const url = await serve((app) => app.get('/', async () => 'ok'));
    await expect(createGuardedFetch()(url)).rejects.toMatchObject({ code: 'address-not-allowed' });
    await expect(createGuardedFetch()(url.replace('127.0.0.1', 'localhost'))).rejects.toMatchObject({
      code: 'address-not-allowed',
    });
    await expect(createGuardedFetch()('http://example.org/')).rejects.toMatchObject({
      code: 'address-not-allowed',
    });
    expect(await (await trusting(url)(url)).text()).toBe('ok');
  });

  it('check redirects again and do not carry credentials to another origin', async () => {
    const seen: (string | undefined)[] = [];
    const target = await serve((app) =>
      app.get('/', async (request) => {
        seen.push(request.headers.authorization);
        return 'target';
      }),
    );
    const url = await serve((app) => {
      app.get('/there', async (_request, reply) => reply.redirect(`${target}/`, 302));
      app.get('/metadata', async (_request, reply) => reply.redirect('https://169.254.169.254/latest', 302));
      app.get('/loop', async (_request, reply) => reply.redirect('/loop', 302));
    });
    const fetch = trusting(url, target);
    const headers = { authorization: 'Bearer abc' };
    expect(await (await fetch(`${url}/there`, { headers })).text()).toBe('target');
    expect(seen).toEqual([undefined]);
    await expect(fetch(`${url}/metadata`, { headers })).rejects.toMatchObject({
      code: 'address-not-allowed',
    });
    await expect(fetch(`${url}/loop`)).rejects.toMatchObject({ code: 'redirect-refused' });
  });

  it('take no answer that unpacks to more than came over the wire', async () => {
    const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024));
    const url = await serve((app) => {
      app.get('/', async (_request, reply) =>
        reply.header('content-encoding', 'gzip').type('application/json').send(bomb),
      );
    });
    const asked = trusting(url)(`${url}/`, { maximumBytes: 64 * 1024 }).then((answer) => answer.text());
    await expect(asked).rejects.toMatchObject({ kind: 'upstream', code: 'encoded-answer' });
  });

  it('know every internal network, also in its IPv6 spelling', () => {
    for (const address of [
      '127.0.0.1',
      '10.1.2.3',
      '169.254.169.254',
      '192.168.0.1',
      '0.0.0.0',
      '::1',
      '::',
      'fd00::1',
      'fe80::1',
      'fe80::1%eth0',
      'fec0::1',
      '::127.0.0.1',
      '::ffff:0:127.0.0.1',
      '64:ff9b::7f00:1',
      '64:ff9b:1::7f00:1',
      '2002:7f00:1::1',
      '2001:0:7f00:1::1',
    ]) {
      expect(isInternalAddress(address), address).toBe(true);
    }
    for (const address of ['8.8.8.8', '172.32.0.1', '2001:4860:4860::8888'])
      expect(isInternalAddress(address), address).toBe(false);
    fc.assert(
      fc.property(
        fc.ipV4(),
        (address) => isInternalAddress(`::ffff:${address}`) === isInternalAddress(address),
      ),
      { numRuns: 500 },
    );
  });
});

/** A GET with a body, which fetch refuses to send. */
function rawGet(url: string, target: string, body: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), ca: authority.certificate }, () => {
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    });
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.on('end', () => resolve(answer));
    socket.on('error', reject);
  });
}
