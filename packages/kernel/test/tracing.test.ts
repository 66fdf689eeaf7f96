import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createGuardedFetch, createListener } from '../src/http/index.ts';
import { type Authority, ensureAuthority, type TlsMaterial } from '../src/pki/index.ts';
import { createLogger, startTracing } from '../src/telemetry/index.ts';

const exportSchema = z.object({
  resourceSpans: z.array(
    z.object({
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().optional(),
              name: z.string(),
              attributes: z.array(z.unknown()),
            }),
          ),
        }),
      ),
    }),
  ),
});

let folder: string;
let authority: Authority;
let tls: TlsMaterial;
const open: FastifyInstance[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-tracing-'));
  authority = await ensureAuthority(folder);
  tls = await authority.ensureServerCertificate('server', { commonName: 'localhost', hosts: ['127.0.0.1'] });
});
afterAll(async () => {
  await Promise.all(open.map((app) => app.close()));
  rmSync(folder, { recursive: true });
});

async function serve(routes: (app: FastifyInstance) => void): Promise<string> {
  const app = createListener({ log: createLogger({ name: 'test', level: 'silent' }), tls });
  routes(app);
  open.push(app);
  return (await app.listen({ host: '127.0.0.1', port: 0 })).replace(/\/$/, '');
}

describe('tracing', () => {
  it('follows a request through components, by the trace of the caller, and tells no credentials', async () => {
    const received: string[] = [];
    const collector = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      received.push(body);
      response.setHeader('content-type', 'application/json').end('{}');
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', () => resolve()));
    const address = collector.address();
    if (address === null || typeof address === 'string') throw new Error('no port');

    const inner = await serve((app) => app.post('/inner', async () => ({ done: true })));
    const fetch = createGuardedFetch({
      allowOrigins: [inner],
      certificateAuthorities: [authority.certificate],
    });
    const lines: string[] = [];
    const log = createLogger({ name: 'test', write: (line) => void lines.push(line) });
    const outer = await serve((app) =>
      app.post('/outer/:id', async () => {
        log.info('in the handler');
        const answer = await fetch(`${inner}/inner?access_token=abcdefghijkl`, { method: 'POST', body: 'x' });
        return answer.json();
      }),
    );

    const tracing = await startTracing({
      url: `http://127.0.0.1:${address.port}/v1/traces`,
      ratio: 0,
      serviceName: 'weft-test',
    });
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const caller = createGuardedFetch({
      allowOrigins: [outer],
      certificateAuthorities: [authority.certificate],
    });
    // The caller has begun the trace and decided that it is kept.
    const answer = await open[1]?.inject({
      method: 'POST',
      url: '/outer/7?access_token=abcdefghijkl',
      payload: { some: 'body' },
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(answer?.json()).toEqual({ done: true });
    // Without a caller's trace the ratio decides: none is kept.
    expect((await caller(`${outer}/outer/8`, { method: 'POST', body: 'x' })).status).toBe(200);
    await tracing.stop();
    await new Promise((resolve) => collector.close(resolve));
    await Promise.all([fetch.close(), caller.close()]);

    const spans = received
      .flatMap((text) => exportSchema.parse(JSON.parse(text)).resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
    const byName = new Map(spans.map((span) => [span.name, span]));
    const [first, call, second] = [
      byName.get('POST /outer/:id'),
      byName.get(`POST ${new URL(inner).host}`),
      byName.get('POST /inner'),
    ];
    expect(spans).toHaveLength(3);
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
    expect(first?.parentSpanId).toBe('b7ad6b7169203331');
    expect(call?.parentSpanId).toBe(first?.spanId);
    expect(second?.parentSpanId).toBe(call?.spanId);
    expect(lines.join()).toContain(`"traceId":"${traceId}"`);
    expect(received.join()).not.toContain('abcdefghijkl');
  });
});
