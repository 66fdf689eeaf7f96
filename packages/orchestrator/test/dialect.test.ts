import type { InjectOptions } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stage, setStage, URL_OF_OURS } from './stage.ts';

const template = `tosca_definitions_version: tosca_simple_yaml_1_0
topology_template:
  inputs:
    cpus: { type: integer, default: 1, constraints: [ { in_range: [ 1, 4 ] } ] }
  node_templates:
    disk: { type: tosca.nodes.indigo.BlockStorage }
    vm:
      type: tosca.nodes.indigo.Compute
      capabilities: { host: { properties: { num_cpus: { get_input: cpus } } } }
      requirements: [ { local_storage: disk } ]
`;

let stage: Stage;
let token: string;

beforeAll(async () => {
  stage = await setStage();
  token = await stage.tokenFor('alice');
});
afterAll(async () => await stage.close());

async function call(options: InjectOptions & { as?: string | null; scheme?: string }) {
  const { as = token, scheme = 'Bearer ', ...rest } = options;
  const headers = { ...(as === null ? {} : { authorization: `${scheme}${as}` }), ...rest.headers };
  const answer = await stage.app.inject({ ...rest, headers });
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text: answer.payload,
    json: () => answer.json(),
  };
}

async function post(body: unknown, headers: Record<string, string> = {}) {
  return await call({
    method: 'POST',
    url: '/deployments',
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('who may call', () => {
  it('anybody may ask for the name and the version', async () => {
    expect((await call({ url: '/', as: null })).text).toBe('Weft-Orchestrator');
    expect((await call({ url: '/info', as: null })).json()).toHaveProperty('projectVersion');
  });

  it.each(['Bearer ', 'bearer ', 'BEARER  ', 'Bearer'])(
    'the scheme may be written as "%s"',
    async (scheme) => {
      expect((await call({ url: '/deployments', scheme })).status).toBe(200);
    },
  );

  it('nobody without a token', async () => {
    const answer = await call({ url: '/deployments', as: null });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
    expect(answer.json()).toMatchObject({ code: 401, title: 'Unauthorized' });
  });

  it.each([
    ['for another audience', { aud: 'https://datalake.test' }],
    ['that has expired', { exp: 1_700_000_000, iat: 1_699_999_000, nbf: 1_699_999_000 }],
  ])('nobody with a token %s', async (_what, claims) => {
    const answer = await call({ url: '/deployments', as: await stage.tokenFor('alice', claims) });
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: 401 });
  });

  it('nobody whose token lacks the scope profile', async () => {
    const answer = await call({
      url: '/deployments',
      as: await stage.tokenFor('alice', { scope: 'openid' }),
    });
    expect(answer.status).toBe(403);
    expect(answer.headers['www-authenticate']).toContain('insufficient_scope');
    expect(answer.json()).toMatchObject({ code: 403, title: 'Forbidden' });
  });

  it('strangers learn nothing about a deployment; members of the group see it but may not end it', async () => {
    const { uuid } = (await post({ template })).json();
    const stranger = await stage.tokenFor('mallory', { 'wlcg.groups': ['/other'] });
    const member = await stage.tokenFor('bob');
    const url = `/deployments/${uuid}`;
    expect((await call({ url, as: stranger })).status).toBe(404);
    expect((await call({ url, method: 'DELETE', as: stranger })).status).toBe(404);
    expect((await call({ url, as: member })).status).toBe(200);
    expect((await call({ url, method: 'DELETE', as: member })).status).toBe(403);
    expect((await call({ url: `${url}/log`, as: member })).status).toBe(403);
  });
});

describe('POST /deployments', () => {
  it('answers with the resource that clients index without looking', async () => {
    const answer = await post({ template, parameters: { cpus: '2' }, keepLastAttempt: 'false', unknown: 1 });
    expect(answer.status).toBe(201);
    const body = answer.json();
    const self = `${URL_OF_OURS}/deployments/${body.uuid}`;
    expect(body).toEqual({
      uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      creationTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d\+0000$/),
      updateTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d\+0000$/),
      status: 'CREATE_IN_PROGRESS',
      task: 'BROKERING',
      outputs: {},
      userGroup: 'drought',
      cloudProviderEndpoint: {},
      createdBy: { issuer: 'https://issuer.test', subject: 'alice' },
      links: [
        { rel: 'self', href: self },
        { rel: 'resources', href: `${self}/resources` },
        { rel: 'template', href: `${self}/template` },
      ],
    });
  });

  it('gives links through the proxy that the client used', async () => {
    const forwarded = {
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'paas.example',
      'x-forwarded-prefix': '/orchestrator',
    };
    const { links } = (await post({ template }, forwarded)).json();
    expect(links[0].href).toMatch(/^https:\/\/paas\.example\/orchestrator\/deployments\//);
  });

  it('gives the same deployment for the same key of the same caller, and refuses the key for another request', async () => {
    const key = { 'idempotency-key': 'drought-2010-12' };
    const first = (await post({ template }, key)).json();
    expect((await post({ template }, key)).json().uuid).toBe(first.uuid);
    expect((await post({ template, parameters: { cpus: 3 } }, key)).status).toBe(409);
    const bob = await stage.tokenFor('bob');
    const other = await call({
      method: 'POST',
      url: '/deployments',
      as: bob,
      headers: { 'content-type': 'application/json', ...key },
      payload: JSON.stringify({ template }),
    });
    expect(other.json().uuid).not.toBe(first.uuid);
  });

  it('makes one deployment of twenty requests with one key at once', async () => {
    const key = { 'idempotency-key': 'at-once' };
    const answers = await Promise.all(Array.from({ length: 20 }, async () => await post({ template }, key)));
    expect(new Set(answers.map((answer) => answer.json().uuid)).size).toBe(1);
  });

  it.each([
    ['no body', '', 400, /body is missing/],
    ['bad JSON', '{', 400, /JSON|Body/],
    ['no template', {}, 400, /template/],
    ['a callback that is no URL', { template, callback: 'ftp://x' }, 400, /callback/],
    [
      'provider timeout beyond the whole',
      { template, timeoutMins: 5, providerTimeoutMins: 6 },
      400,
      /providerTimeoutMins/,
    ],
    ['zero timeout', { template, timeoutMins: 0 }, 400, /timeoutMins/],
    ['a group of others', { template, userGroup: 'other' }, 403, /other is not among/],
    [
      'an input out of range',
      { template, parameters: { cpus: 5 } },
      400,
      /line 4, column \d+: input "cpus" must be in the range/,
    ],
    ['an input of another type', { template, parameters: { cpus: 'many' } }, 400, /not of the type integer/],
    ['a template that is no TOSCA', { template: 'hello' }, 400, /tosca_definitions_version/],
    ['a template with bad YAML', { template: 'a: [' }, 400, /line 1.*bad YAML/],
    [
      'a template with an unknown type',
      { template: template.replace('indigo.Compute', 'indigo.Compte') },
      400,
      /did you mean "tosca.nodes.indigo.Compute"/,
    ],
    [
      'a template that imports from anywhere',
      { template: `${template}imports: [ "http://169.254.169.254/x.yaml" ]\n` },
      400,
      /not fetched/,
    ],
  ])('refuses %s', async (_what, body, status, message) => {
    const answer = await post(body);
    expect(answer.json()).toEqual({
      code: status,
      title: expect.any(String),
      message: expect.stringMatching(message),
    });
    expect(answer.status).toBe(status);
  });

  it('refuses another content type with 415', async () => {
    const answer = await post(template, { 'content-type': 'text/yaml' });
    expect(answer.status).toBe(415);
    expect(answer.json()).toMatchObject({ code: 415, title: 'Unsupported Media Type' });
  });

  it('is not fooled by keys such as __proto__', async () => {
    const answer = await post(
      '{"template":"tosca_definitions_version: tosca_simple_yaml_1_0","parameters":{"__proto__":{"x":1}}}',
    );
    expect(answer.status).toBe(400);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });
});

describe('reading', () => {
  it('takes trailing and repeated slashes', async () => {
    expect((await call({ url: '//deployments/' })).status).toBe(200);
  });

  it('says 404 in the words of the original', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    expect((await call({ url: `/deployments/${id}` })).json()).toEqual({
      code: 404,
      title: 'Not Found',
      message: `The deployment <${id}> doesn't exist`,
    });
    expect((await call({ url: "/deployments/' or 1=1" })).status).toBe(404);
  });

  it('pages lists from 0 with links that keep the filters', async () => {
    const carol = await stage.tokenFor('carol', { 'wlcg.groups': ['/carols'] });
    for (let made = 0; made < 3; made += 1) {
      await call({ method: 'POST', url: '/deployments', as: carol, payload: { template } });
    }
    const first = (await call({ url: '/deployments?size=2&createdBy=me', as: carol })).json();
    expect(first.page).toEqual({ size: 2, totalElements: 3, totalPages: 2, number: 0 });
    expect(first.links.map(({ rel }: { rel: string }) => rel)).toEqual(['first', 'self', 'next', 'last']);
    const next = new URL(first.links[2].href);
    expect(next.searchParams.get('createdBy')).toBe('me');
    const second = (await call({ url: `${next.pathname}${next.search}`, as: carol })).json();
    expect(second.content).toHaveLength(1);
    expect(second.links.map(({ rel }: { rel: string }) => rel)).toEqual(['first', 'prev', 'self', 'last']);
  });

  it('gives orpy everything on one page', async () => {
    const carol = await stage.tokenFor('carol', { 'wlcg.groups': ['/carols'] });
    const answer = await call({
      url: '/deployments?size=2',
      as: carol,
      headers: { 'user-agent': 'orpy-1.0.4' },
    });
    expect(answer.json().content).toHaveLength(3);
    expect(answer.json().links.map(({ rel }: { rel: string }) => rel)).toEqual(['self']);
  });

  it('lists for admins alone what others have', async () => {
    const creator = encodeURIComponent('carol@https://issuer.test');
    expect((await call({ url: `/deployments?createdBy=${creator}` })).status).toBe(403);
    const admin = await stage.tokenFor('root', { 'wlcg.groups': ['/admin'] });
    expect((await call({ url: `/deployments?createdBy=${creator}`, as: admin })).json().content).toHaveLength(
      3,
    );
    expect((await call({ url: '/deployments?createdBy=nobody' })).status).toBe(400);
  });

  it('leaves out what the client does not want to see', async () => {
    const carol = await stage.tokenFor('carol', { 'wlcg.groups': ['/carols'] });
    const url = '/deployments?excludedStatus=CREATE_IN_PROGRESS,DELETE_COMPLETE';
    expect((await call({ url, as: carol })).json().page.totalElements).toBe(0);
  });

  it('gives templates and logs as text, whatever the client accepts', async () => {
    const { uuid } = (await post({ template })).json();
    const headers = { accept: 'application/json' };
    const answer = await call({ url: `/deployments/${uuid}/template/`, headers });
    expect(answer.text).toBe(template);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect((await call({ url: `/deployments/${uuid}/log`, headers })).text).toMatch(
      /accepted for the group drought/,
    );
    expect((await call({ url: `/deployments/${uuid}/extrainfo`, headers })).text).toBe('[]');
  });

  it('gives a resource for every node, and filters them by type with derived types', async () => {
    const { uuid } = (await post({ template })).json();
    const { content } = (await call({ url: `/deployments/${uuid}/resources` })).json();
    expect(content).toMatchObject([
      { toscaNodeName: 'disk', state: 'INITIAL', requiredBy: ['vm'] },
      { toscaNodeName: 'vm', toscaNodeType: 'tosca.nodes.indigo.Compute', requiredBy: [] },
    ]);
    const url = `/deployments/${uuid}/resources/filter?type=tosca.nodes.Compute`;
    expect((await call({ url })).json()).toMatchObject([{ toscaNodeName: 'vm' }]);
    expect((await call({ url: `/deployments/${uuid}/resources/filter?type=` })).status).toBe(400);
    expect((await call({ url: `/deployments/${uuid}/resources/${content[1].uuid}` })).json()).toEqual(
      content[1],
    );
    expect((await call({ url: `/deployments/${uuid}/resources/x` })).status).toBe(404);
  });

  it('has a configuration of flat texts', async () => {
    const values = Object.values((await call({ url: '/configuration' })).json());
    expect(values.every((value) => typeof value === 'string')).toBe(true);
  });

  it('answers unknown addresses in the dialect', async () => {
    expect((await call({ url: '/nothing' })).json()).toMatchObject({ code: 404, title: 'Not Found' });
  });
});

describe('changing', () => {
  it('allows PATCH only to declare a hanging deletion failed', async () => {
    const { uuid } = (await post({ template })).json();
    const url = `/deployments/${uuid}`;
    expect((await call({ method: 'PATCH', url, payload: { status: 'CREATE_COMPLETE' } })).status).toBe(400);
    expect((await call({ method: 'PATCH', url, payload: { status: 'DELETE_FAILED' } })).status).toBe(409);
    // No daemon runs here, so the deletion hangs.
    expect((await call({ method: 'DELETE', url })).status).toBe(204);
    const again = await call({ method: 'DELETE', url });
    expect([again.status, again.headers['retry-after']]).toEqual([409, '0']);
    expect((await call({ method: 'PATCH', url, payload: { status: 'DELETE_FAILED' } })).status).toBe(204);
    expect((await call({ url })).json().status).toBe('DELETE_FAILED');
  });

  it('refuses to update a job', async () => {
    const { uuid } = (await post({ template })).json();
    expect((await call({ method: 'PUT', url: `/deployments/${uuid}`, payload: { template } })).status).toBe(
      400,
    );
  });
});
