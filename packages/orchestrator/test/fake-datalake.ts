import { randomBytes } from 'node:crypto';
import { fastify } from 'fastify';
import { injectFaults } from './inject-faults.ts';
import { listen } from './listen.ts';
import { type EventSource, tellEvents } from './tell-events.ts';

interface FakeRule {
  readonly id: string;
  readonly did: string;
  readonly rse_expression: string;
  readonly comments: string;
  state: string;
}

/** The handful of Rucio's calls that the workflow makes, over HTTP, with state that a test sets. */
export interface FakeDatalake {
  readonly url: string;
  /** DID → files as [name, bytes, RSEs]. */
  readonly contents: Map<string, readonly (readonly [string, number, readonly string[]])[]>;
  readonly rules: FakeRule[];
  /** State of a new rule. Default `OK`. */
  firstState: string;
  /** Status with which every request is answered, when set. */
  broken: number | undefined;
  /** As of `FakeSite`. */
  faults: number;
  readonly tokens: string[];
  close(): Promise<void>;
}

export async function startFakeDatalake(events?: EventSource): Promise<FakeDatalake> {
  const app = fastify();
  const fake = {
    url: '',
    contents: new Map<string, readonly (readonly [string, number, readonly string[]])[]>(),
    rules: [] as FakeRule[],
    firstState: 'OK',
    broken: undefined as number | undefined,
    faults: 0,
    tokens: [] as string[],
    close: async () => await app.close(),
  };
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    done(null, body === '' ? undefined : JSON.parse(String(body)));
  });
  app.addHook('onRequest', async (request, reply) => {
    fake.tokens.push(String(request.headers['x-rucio-auth-token']));
    if (fake.broken !== undefined) await reply.code(fake.broken).send('broken');
  });
  tellEvents(app, 'datalake', events);
  injectFaults(app, () => fake.faults);
  const notFound = (what: string) => ({
    ExceptionClass: 'DataIdentifierNotFound',
    ExceptionMessage: `${what} not found`,
  });

  app.get<{ Params: { scope: string; name: string } }>('/dids/:scope/:name', async ({ params }, reply) => {
    const did = `${params.scope}:${params.name}`;
    if (!fake.contents.has(did)) return await reply.code(404).send(notFound(did));
    return { ...params, type: 'DATASET' };
  });
  app.get<{ Params: { scope: string; name: string } }>(
    '/dids/:scope/:name/rules',
    async ({ params }, reply) => {
      const did = `${params.scope}:${params.name}`;
      const rules = fake.rules.filter((rule) => rule.did === did);
      return await reply
        .type('application/x-json-stream')
        .send(rules.map((rule) => `${JSON.stringify(rule)}\n`).join(''));
    },
  );
  app.post<{ Body: { dids: { scope: string; name: string }[] } }>(
    '/replicas/list',
    async ({ body }, reply) => {
      const lines = body.dids.flatMap(({ scope, name }) =>
        (fake.contents.get(`${scope}:${name}`) ?? []).map(([file, bytes, rses]) =>
          JSON.stringify({
            scope,
            name: file,
            bytes,
            rses: Object.fromEntries(rses.map((rse) => [rse, [`davs://${rse}/${file}`]])),
          }),
        ),
      );
      return await reply.type('application/x-json-stream').send(lines.map((line) => `${line}\n`).join(''));
    },
  );
  app.get('/accounts/whoami', async () => ({ account: 'alice' }));
  app.get('/rses/:source/distances/:destination', async () => []);
  app.post<{
    Body: {
      dids: { scope: string; name: string }[];
      rse_expression: string;
      copies: number;
      comment: string;
    };
  }>('/rules/', async ({ body }, reply) => {
    const wanted = body.dids.map(({ scope, name }) => `${scope}:${name}`);
    const same = fake.rules.find(
      (rule) => wanted.includes(rule.did) && rule.rse_expression === body.rse_expression,
    );
    if (same) {
      const ExceptionMessage = `Duplicate rule for ${same.did}`;
      return await reply.code(409).send({ ExceptionClass: 'DuplicateRule', ExceptionMessage });
    }
    const made = wanted.map((did) => ({
      id: randomBytes(16).toString('hex'),
      account: 'alice',
      copies: body.copies,
      did,
      rse_expression: body.rse_expression,
      comments: body.comment,
      state: fake.firstState,
    }));
    fake.rules.push(...made);
    return await reply.code(201).send(made.map(({ id }) => id));
  });
  app.get<{ Params: { id: string } }>('/rules/:id', async ({ params }, reply) => {
    const rule = fake.rules.find(({ id }) => id === params.id);
    return (
      rule ?? (await reply.code(404).send({ ExceptionClass: 'RuleNotFound', ExceptionMessage: params.id }))
    );
  });
  app.delete<{ Params: { id: string } }>('/rules/:id', async ({ params }, reply) => {
    const at = fake.rules.findIndex(({ id }) => id === params.id);
    if (at === -1)
      return await reply.code(404).send({ ExceptionClass: 'RuleNotFound', ExceptionMessage: params.id });
    fake.rules.splice(at, 1);
    return await reply.code(200).send();
  });
  fake.url = await listen(app);
  return fake;
}
