import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evaluateOutputs, planDeployment } from './plan.ts';

const twin = readFileSync(
  new URL('../../../../examples/drought-twin/drought-twin.yaml', import.meta.url),
  'utf8',
);

function jobTemplate(node: string, more = ''): string {
  return `tosca_definitions_version: tosca_simple_yaml_1_0
topology_template:
  node_templates:
    job:
      type: tosca.nodes.weft.Job
${node}
      artifacts:
        image: { type: tosca.artifacts.Deployment.Image.Container.Docker, file: "busybox:1" }
${more}`;
}

describe('planDeployment', () => {
  it('makes a plan of the twin', () => {
    const plan = planDeployment(twin, {
      issue: '2010-12',
      payload: 'text',
      observations: ['drought:climdiv', 'a:b'],
    });
    expect(plan.unsupported).toEqual([]);
    expect(plan.nodes.map(({ name, requiredBy }) => [name, requiredBy])).toEqual([
      ['observations', ['update']],
      ['warning', ['update']],
      ['update', []],
    ]);
    expect(plan.jobs).toEqual([
      {
        name: 'update',
        image: 'docker.io/library/node:24-alpine',
        command: ['node'],
        arguments: ['/payload/drought.mjs', 'update', '--in', '/in', '--out', '/out', '--issue', '2010-12'],
        environment: { DROUGHT_JOURNAL: '' },
        cpus: 1,
        memoryBytes: 536_870_912,
        wallSeconds: 600,
        files: { '/payload/drought.mjs': 'text' },
        inputs: [
          { did: 'drought:climdiv', path: '/in' },
          { did: 'a:b', path: '/in' },
        ],
        outputs: [
          {
            pattern: '/out/*',
            dataset: 'drought:warning-2010-12',
            replicate: [{ rseExpression: 'OBS-DISK', copies: 1, lifetimeSeconds: undefined }],
          },
        ],
        after: [],
      },
    ]);
  });

  it('lets a job that reads what another makes come after it', () => {
    const plan = planDeployment(
      jobTemplate(
        `      properties: { executable: first }
      requirements: [ { output: { node: middle, relationship: { type: tosca.relationships.weft.StagesOut, properties: { location: "/out/*" } } } } ]`,
        `    middle: { type: tosca.nodes.weft.Dataset, properties: { did: "s:middle" } }
    second:
      type: tosca.nodes.weft.Job
      properties: { executable: second }
      requirements: [ { input: { node: middle, relationship: { type: tosca.relationships.weft.StagesIn, properties: { location: /in } } } } ]
      artifacts: { image: { type: tosca.artifacts.Deployment.Image.Container.Docker, file: x } }
`,
      ),
      {},
    );
    expect(plan.jobs.map(({ name, after }) => [name, after])).toEqual([
      ['job', []],
      ['second', ['job']],
    ]);
  });

  it.each([
    ['a required property is missing', jobTemplate(''), /the property "executable" of "job"/],
    [
      'a property has another type',
      jobTemplate('      properties: { executable: x, num_cpus: many }'),
      /line 6, column \d+: property "num_cpus"/,
    ],
    [
      'a unit is wrong',
      jobTemplate('      properties: { executable: x, mem_size: 12 parsec }'),
      /scalar-unit.size/,
    ],
    [
      'a path climbs',
      jobTemplate('      properties: { executable: x, files: { /a/../b: c } }'),
      /not an absolute path/,
    ],
    [
      'a function names nothing',
      jobTemplate('      properties: { executable: { get_input: nothing } }'),
      /unknown input "nothing"/,
    ],
    [
      'functions go round in circles',
      jobTemplate('      properties: { executable: { get_property: [ SELF, executable ] } }'),
      /in a circle/,
    ],
    [
      'requirements go round in circles',
      jobTemplate('      properties: { executable: x }\n      requirements: [ { dependency: job } ]'),
      /form a cycle: job/,
    ],
    [
      'a DID is none',
      jobTemplate(
        '      properties: { executable: x }',
        '    d: { type: tosca.nodes.weft.Data, properties: { dids: [ nothing ] } }\n',
      ),
      /"nothing" of "d" is not a data identifier/,
    ],
    [
      'a job has no image',
      jobTemplate('      properties: { executable: x }').replace(/ {6}artifacts:.*$/s, ''),
      /has no image/,
    ],
  ])('says where and why when %s', (_what, text, message) => {
    expect(() => planDeployment(text, {})).toThrow(message);
  });

  it('tells all problems at once', () => {
    expect(() =>
      planDeployment(jobTemplate('      properties: { num_cpus: many, mem_size: 1 }'), {}),
    ).toThrow(/executable.*num_cpus.*mem_size/s);
  });

  it('refuses what would eat all memory', () => {
    const bomb = Array.from(
      { length: 12 },
      (_, level) => `  a${level + 1}: &a${level + 1} [${Array(10).fill(`*a${level}`).join(', ')}]`,
    );
    const text = [
      'tosca_definitions_version: tosca_simple_yaml_1_0',
      'dsl_definitions:',
      '  a0: &a0 x',
      ...bomb,
    ].join('\n');
    expect(() => planDeployment(text, {})).toThrow(/expand too far/);
    expect(() => planDeployment('['.repeat(5_000), {})).toThrow(/YAML|deep/);
    expect(() => planDeployment('x'.repeat(3_000_000), {})).toThrow(/larger than/);
  });

  it('takes a thousand nodes in its stride', () => {
    const nodes = Array.from({ length: 1_000 }, (_, index) => {
      const requirements = index === 0 ? '' : `, requirements: [ { dependency: n${index - 1} } ]`;
      return `    n${index}: { type: tosca.nodes.Root${requirements} }`;
    });
    const text = `tosca_definitions_version: tosca_simple_yaml_1_0\ntopology_template:\n  node_templates:\n${nodes.join('\n')}\n`;
    const start = performance.now();
    expect(planDeployment(text, {}).nodes).toHaveLength(1_000);
    expect(performance.now() - start).toBeLessThan(30_000);
  });
});

describe('evaluateOutputs', () => {
  it('fills in what the run has shown, and null where nobody knows', () => {
    const known: Record<string, string | number> = { site: 'hpc', exit_code: 0 };
    const outputs = evaluateOutputs(twin, { issue: '2010-12', payload: '' }, (node, [name]) =>
      node === 'update' ? known[String(name)] : undefined,
    );
    expect(outputs).toEqual({ dataset: 'drought:warning-2010-12', site: 'hpc', exit_code: 0, pod: null });
  });
});
