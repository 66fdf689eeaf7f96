import {
  type Attributes,
  Diagnostics,
  Evaluation,
  inTopologicalOrder,
  isList,
  isObject,
  type Json,
  type NodeTemplate,
  parseServiceTemplate,
  resolveInputs,
  type ServiceTemplate,
  scalarUnit,
} from './tosca/index.ts';

/** What a template asks for, with every value resolved: the workflow knows nothing of TOSCA. */
export interface DeploymentPlan {
  readonly jobs: readonly JobPlan[];
  readonly nodes: readonly PlannedNode[];
  /** Node types that no provider of ours can run yet, e.g. `tosca.nodes.indigo.Compute`. */
  readonly unsupported: readonly string[];
}

/** One container that runs once, to its end. */
export interface JobPlan {
  /** Name of the node template. */
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly wallSeconds: number;
  /** Absolute path inside the container → content. */
  readonly files: Readonly<Record<string, string>>;
  readonly inputs: readonly { readonly did: string; readonly path: string }[];
  readonly outputs: readonly OutputPlan[];
  /** Jobs that must have ended well before this one begins. */
  readonly after: readonly string[];
}

export interface OutputPlan {
  /** `/out/*` */
  readonly pattern: string;
  /** `drought:warning-2010-12` */
  readonly dataset: string;
  readonly replicate: readonly ReplicationPlan[];
}

export interface ReplicationPlan {
  readonly rseExpression: string;
  readonly copies: number;
  readonly lifetimeSeconds: number | undefined;
}

/** One node template, as the resources of a deployment show it (brief 2.1). */
export interface PlannedNode {
  readonly name: string;
  readonly type: string;
  readonly requiredBy: readonly string[];
}

const JOB = 'tosca.nodes.weft.Job';
const BATCH_JOB = 'tosca.nodes.indigo.Batch.Job';
const DATA = 'tosca.nodes.weft.Data';
const DATASET = 'tosca.nodes.weft.Dataset';
const DOCKER_IMAGE = 'tosca.artifacts.Deployment.Image.Container.Docker';

/** `scope:name` in Rucio's generic schema (brief rucio-api 3.1). */
const DID = /^[a-zA-Z0-9._-]{1,25}:[A-Za-z0-9][A-Za-z0-9._/-]{0,249}$/;

/**
 * Parses a template, resolves its inputs and turns its jobs into a plan.
 *
 * @throws {WeftError} `invalid`, code `tosca-invalid`, with every problem and its place in the message
 */
export function planDeployment(text: string, parameters: Readonly<Record<string, Json>>): DeploymentPlan {
  const diagnostics = new Diagnostics();
  const template = parseServiceTemplate(text, diagnostics);
  if (template === undefined) {
    diagnostics.throwIfErrors();
    return { jobs: [], nodes: [], unsupported: [] };
  }
  const inputs = resolveInputs(template, parameters, diagnostics);
  diagnostics.throwIfErrors();
  const evaluation = new Evaluation(template, inputs, diagnostics);
  const ordered = inTopologicalOrder(template.nodes);
  const values = new Map(ordered.map((node) => [node.name, evaluation.properties(node)]));
  for (const [name, output] of template.outputs) evaluation.evaluate(output, undefined, `outputs.${name}`);
  const planner: Planner = { template, values, evaluation, diagnostics };
  const jobs = ordered.filter((node) => isJob(planner, node)).map((node) => planJob(planner, node));
  checkDids(planner, ordered);
  diagnostics.throwIfErrors();
  return {
    jobs,
    nodes: ordered.map((node) => ({
      name: node.name,
      type: node.type,
      requiredBy: ordered
        .filter((other) => other.requirements.some((requirement) => requirement.target === node.name))
        .map((other) => other.name),
    })),
    unsupported: [...new Set(ordered.filter((node) => !isSupported(planner, node)).map((node) => node.type))],
  };
}

/** The template's outputs once the jobs have ended; what nobody knows is null (brief 8.22). */
export function evaluateOutputs(
  text: string,
  parameters: Readonly<Record<string, Json>>,
  attributes: Attributes,
): Record<string, Json> {
  const diagnostics = new Diagnostics();
  const template = parseServiceTemplate(text, diagnostics);
  if (template === undefined) return {};
  const evaluation = new Evaluation(
    template,
    resolveInputs(template, parameters, diagnostics),
    diagnostics,
    attributes,
  );
  return Object.fromEntries(
    [...template.outputs].map(([name, expression]) => {
      const { value, deferred } = evaluation.evaluate(expression, undefined, `outputs.${name}`);
      return [name, deferred ? null : value];
    }),
  );
}

interface Planner {
  readonly template: ServiceTemplate;
  readonly values: ReadonlyMap<string, ReadonlyMap<string, Json>>;
  readonly evaluation: Evaluation;
  readonly diagnostics: Diagnostics;
}

function isA({ template }: Planner, node: NodeTemplate | undefined, type: string): boolean {
  return node !== undefined && template.library.isA('node', node.type, type);
}

function isJob(planner: Planner, node: NodeTemplate): boolean {
  return isA(planner, node, JOB) || isA(planner, node, BATCH_JOB);
}

function isSupported(planner: Planner, node: NodeTemplate): boolean {
  return isJob(planner, node) || isA(planner, node, DATA) || isA(planner, node, DATASET);
}

function planJob(planner: Planner, node: NodeTemplate): JobPlan {
  const { diagnostics } = planner;
  const values = planner.values.get(node.name) ?? new Map<string, Json>();
  const path = `node_templates.${node.name}`;
  const files = texts(values.get('files'));
  for (const file of Object.keys(files)) {
    if (/^(\/[\w.-]+)+$/.test(file) && !file.split('/').includes('..')) continue;
    diagnostics.error(
      'bad-path',
      node,
      `${path}.properties.files`,
      `"${file}" is not an absolute path of plain names`,
    );
  }
  return {
    name: node.name,
    image: imageOf(planner, node),
    command: [String(values.get('executable') ?? '')],
    arguments: argumentsOf(values.get('arguments')),
    environment: texts(values.get('environment')),
    cpus: number(values.get('num_cpus') ?? values.get('total_cores'), 1),
    memoryBytes: memoryOf(values),
    wallSeconds: unit('scalar-unit.time', values.get('wall_clock')) ?? 3_600,
    files,
    inputs: inputsOf(planner, node),
    outputs: outputsOf(planner, node),
    after: jobsBefore(planner, node),
  };
}

function imageOf({ template, evaluation, diagnostics }: Planner, node: NodeTemplate): string {
  for (const [name, artifact] of node.artifacts) {
    const isImage =
      artifact.type !== undefined && template.library.isA('artifact', artifact.type, DOCKER_IMAGE);
    if (!isImage || artifact.file === undefined) continue;
    const { value } = evaluation.evaluate(
      artifact.file,
      node,
      `node_templates.${node.name}.artifacts.${name}`,
    );
    if (typeof value === 'string' && value !== '') return value;
  }
  const message = `the job "${node.name}" has no image: an artifact of the type ${DOCKER_IMAGE} with a file`;
  diagnostics.error('missing-image', node, `node_templates.${node.name}.artifacts`, message);
  return '';
}

function inputsOf(planner: Planner, node: NodeTemplate): { did: string; path: string }[] {
  return node.requirements.flatMap((requirement) => {
    const target = planner.template.nodes.get(requirement.target ?? '');
    if (
      target === undefined ||
      !staging(planner, requirement.relationship, 'tosca.relationships.weft.StagesIn')
    )
      return [];
    const location = locationOf(planner, node, requirement);
    const values = planner.values.get(target.name);
    const dids = isA(planner, target, DATASET) ? [values?.get('did')] : items(values?.get('dids'));
    return dids.map((did) => ({ did: String(did ?? ''), path: location }));
  });
}

function outputsOf(planner: Planner, node: NodeTemplate): OutputPlan[] {
  return node.requirements.flatMap((requirement) => {
    const target = planner.template.nodes.get(requirement.target ?? '');
    if (target === undefined || !isA(planner, target, DATASET)) return [];
    if (!staging(planner, requirement.relationship, 'tosca.relationships.weft.StagesOut')) return [];
    const values = planner.values.get(target.name);
    return {
      pattern: locationOf(planner, node, requirement),
      dataset: String(values?.get('did') ?? ''),
      replicate: items(values?.get('replicate')).flatMap((rule) => replication(planner, target, rule)),
    };
  });
}

function replication({ diagnostics }: Planner, node: NodeTemplate, rule: Json): ReplicationPlan[] {
  const fields = isObject(rule) ? rule : {};
  const rseExpression = fields.rse_expression;
  const copies = Number(fields.copies ?? 1);
  const lifetime =
    fields.lifetime === undefined || fields.lifetime === '' ? undefined : Number(fields.lifetime);
  const isBad =
    typeof rseExpression !== 'string' || rseExpression === '' || !(Number.isInteger(copies) && copies >= 1);
  if (isBad || (lifetime !== undefined && !(Number.isInteger(lifetime) && lifetime > 0))) {
    const message = `"replicate" of "${node.name}" needs rse_expression, and may have copies and lifetime (seconds), whole numbers from 1`;
    diagnostics.error('bad-replication', node, `node_templates.${node.name}.properties.replicate`, message);
    return [];
  }
  return [{ rseExpression, copies, lifetimeSeconds: lifetime }];
}

function staging({ template }: Planner, relationship: string | undefined, type: string): boolean {
  return relationship !== undefined && template.library.isA('relationship', relationship, type);
}

function locationOf(
  planner: Planner,
  node: NodeTemplate,
  requirement: NodeTemplate['requirements'][number],
): string {
  const path = `node_templates.${node.name}.requirements.${requirement.name}`;
  const expression = requirement.relationshipProperties.get('location');
  const value =
    expression === undefined ? undefined : planner.evaluation.evaluate(expression, node, path).value;
  if (typeof value === 'string' && /^\/[\w./*?-]*$/.test(value)) return value;
  const message = `the requirement "${requirement.name}" of "${node.name}" needs a relationship with a location such as /in`;
  planner.diagnostics.error('missing-location', requirement, path, message);
  return '/';
}

function jobsBefore(planner: Planner, node: NodeTemplate): string[] {
  const makersOf = (dataset: string) =>
    [...planner.template.nodes.values()]
      .filter((other) => other !== node && isJob(planner, other))
      .filter((other) => outputsOf(planner, other).some((output) => output.dataset === dataset))
      .map((other) => other.name);
  const before = new Set<string>();
  for (const { target } of node.requirements) {
    const required = planner.template.nodes.get(target ?? '');
    if (required !== undefined && isJob(planner, required)) before.add(required.name);
  }
  for (const { did } of inputsOf(planner, node)) for (const maker of makersOf(did)) before.add(maker);
  return [...before];
}

function checkDids(planner: Planner, nodes: readonly NodeTemplate[]): void {
  for (const node of nodes) {
    const values = planner.values.get(node.name);
    const dids = isA(planner, node, DATA)
      ? items(values?.get('dids'))
      : isA(planner, node, DATASET)
        ? [values?.get('did')]
        : [];
    for (const did of dids) {
      if (typeof did === 'string' && DID.test(did)) continue;
      const message = `"${String(did)}" of "${node.name}" is not a data identifier (scope:name)`;
      planner.diagnostics.error('bad-did', node, `node_templates.${node.name}.properties`, message);
    }
  }
}

function argumentsOf(value: Json | undefined): string[] {
  if (typeof value === 'string') return value.split(/\s+/).filter((word) => word !== '');
  return items(value).map((item) => (typeof item === 'string' ? item : JSON.stringify(item)));
}

function memoryOf(values: ReadonlyMap<string, Json>): number {
  const megabytes = values.get('memory_per_node');
  if (typeof megabytes === 'number') return megabytes * 1e6;
  return unit('scalar-unit.size', values.get('mem_size')) ?? 512 * 2 ** 20;
}

function unit(type: 'scalar-unit.size' | 'scalar-unit.time', value: Json | undefined): number | undefined {
  return typeof value === 'string' ? scalarUnit(type, value) : undefined;
}

function number(value: Json | undefined, fallback: number): number {
  return typeof value === 'number' && value > 0 ? value : fallback;
}

function items(value: Json | undefined): readonly Json[] {
  return isList(value) ? value : [];
}

function texts(value: Json | undefined): Record<string, string> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, typeof item === 'string' ? item : JSON.stringify(item)]),
  );
}
