import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, TLSSocket } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  type CreateListenerOptions,
  createListener,
  openApiDocument,
  openServerCertificate,
  sendJsonLines,
} from '../src/http/index.ts';
import { type Authority, ensureAuthority, type TlsMaterial } from '../src/pki/index.ts';
import { createLogger } from '../src/telemetry/index.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const closing: (() => Promise<void> | void)[] = [];
let folder: string;
let authority: Authority;
let tls: TlsMaterial;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-wire-'));
  authority = await ensureAuthority(folder);
  tls = await certificate('server');
});
afterAll(async () => {
  for (const close of closing) await close();
  rmSync(folder, { recursive: true });
});

const certificate = (name: string) =>
  authority.ensureServerCertificate(name, { commonName: 'localhost', hosts: ['localhost', '127.0.0.1'] });

async function serve(
  routes: (app: FastifyInstance) => void,
  options: Partial<CreateListenerOptions> = {},
): Promise<{ app: FastifyInstance; port: number }> {
  const app = createListener({ log, tls, ...options });
  routes(app);
  closing.push(() => app.close());
  const url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  return { app, port: Number(url.port) };
}

/** Sends bytes as they are, and gives all that comes until the connection ends or `until` has been seen. */
async function talk(port: number, text: string, until?: RegExp): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate });
  await once(socket, 'secureConnect');
  socket.write(text);
  let answer = '';
  for await (const chunk of socket) {
    answer += String(chunk);
    if (until?.test(answer)) break;
  }
  socket.destroy();
  return answer;
}

describe('the certificate of a listener', () => {
  it('changes without a restart when its files change, and stays when the new pair is no good', async () => {
    const files = {
      certificateFile: path.join(folder, 'live.pem'),
      keyFile: path.join(folder, 'live.key'),
    };
    const write = (material: TlsMaterial) => {
      writeFileSync(files.keyFile, material.key);
      writeFileSync(files.certificateFile, material.certificate);
    };
    write(tls);
    const live = openServerCertificate(files, log);
    closing.push(() => live.close());
    const { port } = await serve((app) => app.get('/', async () => 'ok'), { tls: live });
    const serial = async () => {
      const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate });
      await once(socket, 'secureConnect');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };

    const before = await serial();
    const fresh = await certificate('fresh');
    write(fresh);
    await expect.poll(serial).not.toBe(before);
    const renewed = await serial();

    write({ certificate: tls.certificate, key: fresh.key });
    await sleep(600);
    expect(await serial()).toBe(renewed);
  });

  it('refuses a pair that does not belong together from the start', async () => {
    const other = await certificate('other');
    writeFileSync(path.join(folder, 'odd.key'), other.key);
    const files = { certificateFile: path.join(folder, 'server.pem'), keyFile: path.join(folder, 'odd.key') };
    expect(() => openServerCertificate(files, log)).toThrow(/odd\.key is not the key of/);
  });
});

describe('JSON lines', () => {
  it('come as fast as they are read, and no faster', async () => {
    let produced = 0;
    let closed = false;
    async function* rows() {
      try {
        for (; produced < 100_000; produced++) yield { number: produced, padding: 'x'.repeat(1000) };
      } finally {
        closed = true;
      }
    }
    const { port } = await serve((app) => app.get('/', (_request, reply) => sendJsonLines(reply, rows())));
    const outgoing = request({ host: '127.0.0.1', port, ca: authority.certificate });
    outgoing.end();
    const [response] = await once(outgoing, 'response');
    expect(response.headers['content-type']).toBe('application/x-ndjson');
    response.pause();
    await expect
      .poll(async () => {
        const before = produced;
        await sleep(100);
        return produced - before;
      })
      .toBe(0);
    // 100 MB are waiting; what was made fits the buffers of sockets and streams.
    expect(produced).toBeLessThan(30_000);
    response.destroy();
    outgoing.destroy();
    await expect.poll(() => closed).toBe(true);
  });

  it('are whole lines, every one of them', async () => {
    const { port } = await serve((app) =>
      app.get('/', (_request, reply) =>
        sendJsonLines(
          reply,
          Array.from({ length: 5000 }, (_, n) => ({ n })),
          { contentType: 'application/x-json-stream' },
        ),
      ),
    );
    const answer = await talk(port, 'GET / HTTP/1.0\r\nHost: x\r\n\r\n');
    const lines = answer
      .slice(answer.indexOf('\r\n\r\n') + 4)
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line).n)).toEqual(Array.from({ length: 5000 }, (_, n) => n));
  });

  it('that fail in the middle end the connection, so that a part is not taken for the whole', async () => {
    async function* rows() {
      for (let n = 0; n < 100; n++) yield { n, padding: 'x'.repeat(1000) };
      throw new Error('the cursor broke');
    }
    const { port } = await serve((app) => app.get('/', (_request, reply) => sendJsonLines(reply, rows())));
    const outgoing = request({ host: '127.0.0.1', port, ca: authority.certificate });
    outgoing.end();
    const [response] = await once(outgoing, 'response');
    const read = (async () => {
      for await (const _chunk of response);
    })();
    await expect(read).rejects.toThrow(/aborted|reset|hang up/i);
  });
});

describe('a description', () => {
  it('is made of the schemas that the routes parse with, and lists every route', async () => {
    const { app } = await serve((app) => {
      app.get(
        '/jobs/:id',
        {
          config: {
            describe: {
              summary: 'One job',
              params: z.object({ id: z.uuid() }),
              query: z.object({ fields: z.string().optional(), limit: z.coerce.number().default(10) }),
              answers: {
                200: { description: 'The job', schema: z.object({ state: z.enum(['NEW', 'DONE']) }) },
              },
            },
          },
        },
        async () => ({ state: 'NEW' }),
      );
      app.post('/jobs', async () => 'undescribed');
      app.get('/files/*', async () => 'wild');
      app.post('/pods/:name::cancel', async () => 'colon');
    });
    const document = openApiDocument(app, { title: 'Test', version: '1', url: 'https://localhost' });
    expect(document).toMatchObject({
      openapi: '3.1.0',
      paths: {
        '/jobs/{id}': {
          get: {
            summary: 'One job',
            parameters: [
              { name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } },
              { name: 'fields', in: 'query', required: false },
              { name: 'limit', in: 'query', required: false, schema: { default: 10 } },
            ],
            responses: {
              200: {
                content: {
                  'application/json': { schema: { properties: { state: { enum: ['NEW', 'DONE'] } } } },
                },
              },
            },
          },
        },
        '/jobs': { post: { responses: { 200: {} } } },
        '/files/{path}': { get: { parameters: [{ name: 'path', in: 'path' }] } },
        '/pods/{name}:cancel': { post: {} },
      },
    });
  });
});

describe('a listener with HTTP/2', () => {
  it('speaks it with those who ask, HTTP/1.1 with the others, and closes with both', async () => {
    const { app, port } = await serve(
      (app) => {
        app.get('/', async (request) => ({ version: request.raw.httpVersion }));
        app.post('/', async (request) => ({ body: request.body }));
      },
      { http2: true },
    );
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: authority.certificate });
    const read = async (headers: Record<string, string>, body = '') => {
      const stream = session.request(headers);
      // A GET has ended already.
      if (body !== '') stream.end(body);
      let text = '';
      for await (const chunk of stream) text += String(chunk);
      return JSON.parse(text);
    };
    expect(await read({ ':path': '/' })).toEqual({ version: '2.0' });
    expect(
      await read({ ':path': '/', ':method': 'POST', 'content-type': 'application/json' }, '{"a":1}'),
    ).toEqual({ body: { a: 1 } });
    expect(await talk(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toContain(
      '{"version":"1.1"}',
    );
    session.close();
    await app.close();
  });
});

describe('client certificates', () => {
  it('are asked for where a listener says so, never required, and never resumed', async () => {
    const { port } = await serve(
      (app) =>
        app.get('/', async ({ raw: { socket } }) => {
          if (!(socket instanceof TLSSocket)) throw new Error('no TLS');
          const { subject } = socket.getPeerCertificate(true);
          return { subject: subject?.CN ?? null, resumed: socket.isSessionReused() };
        }),
      { requestClientCertificate: true },
    );
    const client = await authority.ensureServerCertificate('client', { commonName: 'Robot mover' });
    const ask = async (session?: Buffer) => {
      const socket = connect({
        host: '127.0.0.1',
        port,
        ca: authority.certificate,
        cert: client.certificate,
        key: client.key,
        ...(session ? { session } : {}),
      });
      let ticket: Buffer | undefined;
      socket.on('session', (data) => {
        ticket = data;
      });
      await once(socket, 'secureConnect');
      socket.write('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
      let text = '';
      for await (const chunk of socket) text += String(chunk);
      return { answer: JSON.parse(text.slice(text.indexOf('\r\n\r\n'))), ticket };
    };
    const first = await ask();
    expect(first.answer).toEqual({ subject: 'Robot mover', resumed: false });
    expect((await ask(first.ticket)).answer).toEqual({ subject: 'Robot mover', resumed: false });
    const without = await talk(port, 'GET / HTTP/1.0\r\nHost: x\r\n\r\n');
    expect(without).toContain('{"subject":null,"resumed":false}');
  });

  it('are not asked for elsewhere, so that browsers ask nobody', async () => {
    const { port } = await serve((app) => app.get('/', async () => 'ok'));
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, maxVersion: 'TLSv1.2' });
    await once(socket, 'secureConnect');
    expect(socket.getFinished()).toBeDefined();
    const client = await authority.ensureServerCertificate('unasked', { commonName: 'unasked' });
    socket.destroy();
    const asked = connect({
      host: '127.0.0.1',
      port,
      ca: authority.certificate,
      cert: client.certificate,
      key: client.key,
    });
    await once(asked, 'secureConnect');
    asked.write('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
    asked.resume();
    await once(asked, 'end');
  });
});

describe('Expect: 100-continue', () => {
  const routes = (app: FastifyInstance) => {
    app.put('/:verdict', async (request, reply) => {
      if (Object(request.params).verdict === 'refuse') return reply.code(403).send({ refused: true });
      reply.raw.writeContinue();
      let bytes = 0;
      for await (const chunk of request.raw) bytes += chunk.length;
      return { bytes };
    });
  };
  const head = (target: string) =>
    `PUT ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`;

  it('lets the handler refuse before a byte of the body was sent', async () => {
    const { port } = await serve(routes, { rawBodies: true, deferContinue: true });
    const answer = await talk(port, head('/refuse'), /refused/);
    expect(answer).toMatch(/^HTTP\/1\.1 403/);
    expect(answer).not.toContain('100 Continue');
  });

  it('continues when the handler says so', async () => {
    const { port } = await serve(routes, { rawBodies: true, deferContinue: true });
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate });
    await once(socket, 'secureConnect');
    socket.write(head('/take'));
    let answer = '';
    for await (const chunk of socket) {
      answer += String(chunk);
      if (/^HTTP\/1\.1 100 Continue\r\n\r\n$/.test(answer)) socket.write('12345');
    }
    expect(answer).toMatch(/^HTTP\/1\.1 100 Continue[\s\S]*HTTP\/1\.1 200[\s\S]*\{"bytes":5\}/);
  });
});
