import type { FastifyInstance, RouteOptions } from 'fastify';
import { z } from 'zod';

/** What a route says about itself, with the schemas that it parses with: `{ config: { describe: { … } } }`. */
export interface RouteDescription {
  readonly summary: string;
  readonly tags?: readonly string[];
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Default `application/json`. */
  readonly bodyType?: string;
  /** By status. Default: 200 without a schema. */
  readonly answers?: Readonly<Record<number, AnswerDescription>>;
  /** Callers need no token. */
  readonly open?: boolean;
}

export interface AnswerDescription {
  readonly description: string;
  readonly schema?: z.ZodType;
  readonly type?: string;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    describe?: RouteDescription;
  }
}

export interface OpenApiInfo {
  readonly title: string;
  readonly version: string;
  readonly url: string;
}

interface KnownRoute {
  readonly method: string;
  readonly path: string;
  readonly describe: RouteDescription | undefined;
}

const known = new WeakMap<FastifyInstance['server'], KnownRoute[]>();

/** What OpenAPI has a word for; WebDAV's methods are listed beside. */
const METHODS = new Set(['get', 'put', 'post', 'delete', 'options', 'patch', 'trace']);

/** Remembers every route of the listener from here on. */
export function rememberRoutes(app: FastifyInstance): void {
  const routes: KnownRoute[] = [];
  known.set(app.server, routes);
  app.addHook('onRoute', (route: RouteOptions) => {
    for (const method of [route.method].flat()) {
      if (method === 'HEAD' || route.url.startsWith('/.weft/')) continue;
      routes.push({ method: method.toLowerCase(), path: route.url, describe: route.config?.describe });
    }
  });
}

/**
 * The listener as an OpenAPI 3.1 document. Every route is in it; those with a `describe` have their parameters, body and
 * answers out of the zod schemas that the handler parses with, so the document cannot say anything else than the code.
 */
export function openApiDocument(app: FastifyInstance, info: OpenApiInfo): object {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, describe } of known.get(app.server) ?? []) {
    const { template, names } = templateOf(path);
    const item = paths[template] ?? {};
    paths[template] = item;
    const operation = operationOf(describe, names);
    if (METHODS.has(method)) item[method] = operation;
    else item['x-methods'] = { ...Object(item['x-methods']), [method.toUpperCase()]: operation };
  }
  return {
    openapi: '3.1.0',
    info: { title: info.title, version: info.version },
    servers: [{ url: info.url }],
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
    security: [{ bearer: [] }],
    paths,
  };
}

/** `/jobs/:ids/files/*` becomes `/jobs/{ids}/files/{path}`; patterns of parameters are left out. */
function templateOf(path: string): { template: string; names: string[] } {
  const names: string[] = [];
  const template = path
    .replaceAll('::', '\0')
    .replace(/:(\w+)(\((?:[^()]|\([^()]*\))*\))?\??/g, (_all, name: string) => {
      names.push(name);
      return `{${name}}`;
    })
    .replace(/\*$/, () => {
      names.push('path');
      return '{path}';
    })
    .replaceAll('\0', ':');
  return { template: template === '' ? '/' : template, names };
}

function operationOf(describe: RouteDescription | undefined, names: readonly string[]): object {
  const inPath = describe?.params ? propertiesOf(describe.params) : {};
  const parameters = [
    ...names.map((name) => ({
      name,
      in: 'path',
      required: true,
      schema: inPath[name]?.schema ?? { type: 'string' },
    })),
    ...Object.entries(describe?.query ? propertiesOf(describe.query) : {}).map(
      ([name, { schema, required }]) => ({ name, in: 'query', required, schema }),
    ),
  ];
  const answers = describe?.answers ?? { 200: { description: 'Done' } };
  return {
    ...(describe ? { summary: describe.summary } : {}),
    ...(describe?.tags ? { tags: describe.tags } : {}),
    ...(describe?.open ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(describe?.body
      ? {
          requestBody: {
            content: {
              [describe.bodyType ?? 'application/json']: { schema: jsonSchema(describe.body, 'input') },
            },
          },
        }
      : {}),
    responses: Object.fromEntries(
      Object.entries(answers).map(([status, { description, schema, type }]) => [
        status,
        {
          description,
          ...(schema
            ? { content: { [type ?? 'application/json']: { schema: jsonSchema(schema, 'output') } } }
            : {}),
        },
      ]),
    ),
  };
}

const objectSchema = z.object({
  properties: z.record(z.string(), z.unknown()).default({}),
  required: z.array(z.string()).default([]),
});

function propertiesOf(schema: z.ZodObject): Record<string, { schema: unknown; required: boolean }> {
  const { properties, required } = objectSchema.parse(jsonSchema(schema, 'input'));
  return Object.fromEntries(
    Object.entries(properties).map(([name, each]) => [
      name,
      { schema: each, required: required.includes(name) },
    ]),
  );
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
