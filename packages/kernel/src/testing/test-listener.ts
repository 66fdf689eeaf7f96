import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions } from 'fastify';
import type { ListenerDefinition } from '../component/component.ts';
import { createListener, type GuardedFetch } from '../http/index.ts';
import { ensureAuthority, type TlsMaterial } from '../pki/index.ts';
import type { Logger } from '../telemetry/index.ts';

let material: Promise<TlsMaterial> | undefined;

/** A component's listener with its routes, not listening: use `app.inject`, or `fetchInto`. */
export async function createTestListener(
  definition: ListenerDefinition,
  log: Logger,
): Promise<FastifyInstance> {
  material ??= makeCertificate();
  const app = createListener({ ...definition.options, log, tls: await material });
  await definition.routes(app);
  await app.ready();
  return app;
}

async function makeCertificate(): Promise<TlsMaterial> {
  const authority = await ensureAuthority(mkdtempSync(join(tmpdir(), 'weft-test-pki-')));
  return authority.ensureServerCertificate('test', {
    commonName: 'localhost',
    hosts: ['localhost', '127.0.0.1'],
  });
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

/**
 * A `fetch` whose requests enter listeners of this process directly, by origin; any other origin fails as a closed port
 * does. For bodies that are text or bytes.
 *
 * @example const fetch = fetchInto({ 'https://issuer.test': issuerApp });
 */
export function fetchInto(listeners: Readonly<Record<string, FastifyInstance>>): GuardedFetch {
  return async (input, init = {}) => {
    const url = new URL(input);
    const app = listeners[url.origin];
    if (app === undefined) throw new TypeError(`connect ECONNREFUSED ${url.host}`);
    const method = METHODS.find((name) => name === (init.method ?? 'GET').toUpperCase());
    if (method === undefined) throw new TypeError(`fetchInto does not know the method ${init.method}`);
    const { body } = init;
    const options: InjectOptions = {
      method,
      url: `${url.pathname}${url.search}`,
      headers: init.headers ?? {},
    };
    if (typeof body === 'string') options.payload = body;
    if (body instanceof Uint8Array) options.payload = Buffer.from(body);
    const answer = await app.inject(options);
    const headers = new Headers();
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const each of [value ?? []].flat()) headers.append(name, String(each));
    }
    const bodiless = method === 'HEAD' || [204, 304].includes(answer.statusCode);
    return new Response(bodiless ? null : new Uint8Array(answer.rawPayload), {
      status: answer.statusCode,
      headers,
    });
  };
}
