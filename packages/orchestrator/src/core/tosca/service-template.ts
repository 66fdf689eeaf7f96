import type { Diagnostics, Position } from './diagnostics.ts';
import { suggestion } from './diagnostics.ts';
import { childOf, join, type Located, type LocatedMap, parseLocated, textOf } from './located.ts';
import {
  bundledTypes,
  type PropertyDefinition,
  propertyDefinition,
  TYPE_SECTIONS,
  TypeLibrary,
} from './type-library.ts';

/** A TOSCA service template, checked for its structure; values are still expressions. */
export interface ServiceTemplate {
  readonly library: TypeLibrary;
  readonly inputs: ReadonlyMap<string, PropertyDefinition & Position>;
  /** In the order of the document. */
  readonly nodes: ReadonlyMap<string, NodeTemplate>;
  readonly outputs: ReadonlyMap<string, Located>;
}

export interface NodeTemplate extends Position {
  readonly name: string;
  /** Full name of the type. */
  readonly type: string;
  readonly properties: ReadonlyMap<string, Located>;
  readonly capabilities: ReadonlyMap<string, ReadonlyMap<string, Located>>;
  readonly requirements: readonly Requirement[];
  readonly artifacts: ReadonlyMap<string, Artifact>;
}

interface Requirement extends Position {
  readonly name: string;
  /** The node template at the other end, or undefined when the requirement names a type or a filter only. */
  readonly target: string | undefined;
  readonly relationship: string | undefined;
  readonly relationshipProperties: ReadonlyMap<string, Located>;
}

interface Artifact {
  readonly file: Located | undefined;
  readonly type: string | undefined;
}

const VERSIONS: ReadonlySet<string> = new Set([
  'tosca_simple_yaml_1_0',
  'tosca_simple_yaml_1_0_0',
  'tosca_simple_yaml_1_1',
  'tosca_simple_yaml_1_2',
  'tosca_simple_yaml_1_3',
]);

const SECTIONS: ReadonlySet<string> = new Set([
  'tosca_definitions_version',
  'namespace',
  'metadata',
  'description',
  'dsl_definitions',
  'repositories',
  'imports',
  'topology_template',
  ...TYPE_SECTIONS,
]);

/** Imports that resolve to the bundled types. Nothing is ever fetched (brief 3.7). */
const BUNDLED_IMPORTS: readonly RegExp[] = [
  /^https:\/\/raw\.githubusercontent\.com\/(indigo-dc|infn-datacloud)\/tosca-types\/[^/]+\/[\w./-]*\.ya?ml$/,
  /^https:\/\/raw\.githubusercontent\.com\/grycap\/(tosca|ec3)\/[^/]+\/[\w./-]*\.ya?ml$/,
  /^(normative|indigo|weft)_types\.yaml$/,
  /^custom_types\.yaml$/,
];

/** Parses and checks a template; what is wrong goes into `diagnostics`, and undefined comes back when nothing can be read. */
export function parseServiceTemplate(text: string, diagnostics: Diagnostics): ServiceTemplate | undefined {
  const document = parseLocated(text, diagnostics);
  if (document === undefined) return undefined;
  if (document.kind !== 'map') {
    diagnostics.error(
      'not-a-map',
      document,
      '',
      'a TOSCA template is a map that begins with tosca_definitions_version',
    );
    return undefined;
  }
  checkVersion(document, diagnostics);
  for (const [section, body] of document.entries) {
    if (SECTIONS.has(section)) continue;
    const hint = suggestion(section, SECTIONS);
    diagnostics.error('unknown-section', body, section, `unknown section "${section}"${hint}`);
  }
  checkImports(document, diagnostics);
  const library = TypeLibrary.of([document], bundledTypes());
  library.check(document, diagnostics);

  const topology = childOf(document, 'topology_template');
  if (topology?.kind !== 'map') {
    diagnostics.error(
      'missing-topology',
      topology ?? document,
      'topology_template',
      'topology_template is missing or empty',
    );
    return undefined;
  }
  const inputs = readInputs(mapAt(topology, 'inputs', diagnostics), library, diagnostics);
  const nodes = readNodes(mapAt(topology, 'node_templates', diagnostics), library, diagnostics);
  checkCycles(nodes, diagnostics);
  const outputs = new Map<string, Located>();
  for (const [name, body] of mapAt(topology, 'outputs', diagnostics)?.entries ?? []) {
    const value = childOf(body, 'value');
    if (value !== undefined) outputs.set(name, value);
    else diagnostics.error('missing-value', body, `outputs.${name}`, `the output "${name}" has no value`);
  }
  return { library, inputs, nodes, outputs };
}

function checkVersion(document: LocatedMap, diagnostics: Diagnostics): void {
  const version = childOf(document, 'tosca_definitions_version');
  const text = textOf(version);
  if (version === undefined || text === undefined) {
    diagnostics.error('missing-version', document, '', 'tosca_definitions_version is missing');
  } else if (!VERSIONS.has(text)) {
    const known = [...VERSIONS].join(', ');
    const message = `tosca_definitions_version "${text}" is not supported (known: ${known})`;
    diagnostics.error('unsupported-version', version, 'tosca_definitions_version', message);
  }
}

function checkImports(document: LocatedMap, diagnostics: Diagnostics): void {
  const imports = childOf(document, 'imports');
  if (imports?.kind !== 'list') return;
  for (const item of imports.items) {
    for (const file of importedFiles(item)) {
      if (BUNDLED_IMPORTS.some((known) => known.test(file))) continue;
      const message = `the import "${file}" is not bundled, and imports are not fetched; put its types into the template`;
      diagnostics.error('unknown-import', item, 'imports', message);
    }
  }
}

/** `file`, `{ name: file }`, `{ name: { file } }` and `{ file, repository, … }`. */
function importedFiles(item: Located): string[] {
  const direct = textOf(item) ?? textOf(childOf(item, 'file'));
  if (direct !== undefined) return [direct];
  if (item.kind !== 'map') return [];
  return [...item.entries.values()].flatMap((value) => textOf(value) ?? textOf(childOf(value, 'file')) ?? []);
}

function mapAt(parent: LocatedMap, key: string, diagnostics: Diagnostics): LocatedMap | undefined {
  const value = parent.entries.get(key);
  if (value === undefined || (value.kind === 'scalar' && value.value === null)) return undefined;
  if (value.kind === 'map') return value;
  diagnostics.error('not-a-map', value, key, `"${key}" must be a map`);
  return undefined;
}

function readInputs(
  inputs: LocatedMap | undefined,
  library: TypeLibrary,
  diagnostics: Diagnostics,
): Map<string, PropertyDefinition & Position> {
  const read = new Map<string, PropertyDefinition & Position>();
  for (const [name, body] of inputs?.entries ?? []) {
    const definition = propertyDefinition(body);
    for (let type: typeof definition.type | undefined = definition.type; type; type = type.entry) {
      if (library.isDataType(type.name)) continue;
      const hint = suggestion(type.name, library.names('data'));
      diagnostics.error(
        'unknown-data-type',
        body,
        `inputs.${name}`,
        `unknown data type "${type.name}"${hint}`,
      );
    }
    read.set(name, { ...definition, line: body.line, column: body.column });
  }
  return read;
}

function readNodes(
  templates: LocatedMap | undefined,
  library: TypeLibrary,
  diagnostics: Diagnostics,
): Map<string, NodeTemplate> {
  const nodes = new Map<string, NodeTemplate>();
  for (const [name, body] of templates?.entries ?? []) {
    const path = join('node_templates', name);
    const declared = childOf(body, 'type');
    const written = textOf(declared);
    const type = written === undefined ? undefined : library.resolve('node', written);
    if (written === undefined) {
      diagnostics.error('missing-type', body, path, `the node template "${name}" has no type`);
    } else if (type === undefined) {
      const hint = suggestion(written, library.names('node'));
      diagnostics.error(
        'unknown-node-type',
        declared ?? body,
        `${path}.type`,
        `unknown node type "${written}"${hint}`,
      );
    }
    nodes.set(name, {
      name,
      type: type ?? 'tosca.nodes.Root',
      properties: entriesOf(childOf(body, 'properties')),
      capabilities: readCapabilities(body, type, library, path, diagnostics),
      requirements: readRequirements(body, type, templates, library, path, diagnostics),
      artifacts: readArtifacts(body, library, path, diagnostics),
      line: body.line,
      column: body.column,
    });
  }
  return nodes;
}

function entriesOf(node: Located | undefined): ReadonlyMap<string, Located> {
  return node?.kind === 'map' ? node.entries : new Map();
}

function readCapabilities(
  body: Located,
  type: string | undefined,
  library: TypeLibrary,
  path: string,
  diagnostics: Diagnostics,
): Map<string, ReadonlyMap<string, Located>> {
  const known = type === undefined ? undefined : library.capabilities(type);
  const read = new Map<string, ReadonlyMap<string, Located>>();
  for (const [name, capability] of entriesOf(childOf(body, 'capabilities'))) {
    read.set(name, entriesOf(childOf(capability, 'properties')));
    if (known !== undefined && !known.has(name)) {
      diagnostics.warning(
        'unknown-capability',
        capability,
        `${path}.capabilities.${name}`,
        `unknown capability "${name}"`,
      );
    }
  }
  return read;
}

function readRequirements(
  body: Located,
  type: string | undefined,
  templates: LocatedMap | undefined,
  library: TypeLibrary,
  path: string,
  diagnostics: Diagnostics,
): Requirement[] {
  const list = childOf(body, 'requirements');
  // Some published templates write a map where the standard has a list of one-entry maps.
  const items = list?.kind === 'list' ? list.items : list?.kind === 'map' ? [list] : [];
  const read: Requirement[] = [];
  for (const item of items) {
    for (const [name, requirement] of entriesOf(item)) {
      const node = childOf(requirement, 'node');
      const target = textOf(requirement) ?? textOf(node);
      const relationship = childOf(requirement, 'relationship');
      const known = target !== undefined && templates?.entries.has(target) === true;
      if (target !== undefined && !known && library.resolve('node', target) === undefined) {
        const hint = suggestion(target, templates?.entries.keys() ?? []);
        const message = `the requirement "${name}" names the unknown node template "${target}"${hint}`;
        diagnostics.error('unknown-node', node ?? requirement, `${path}.requirements.${name}`, message);
      }
      read.push({
        name,
        target: known ? target : undefined,
        relationship:
          textOf(relationship) ??
          textOf(childOf(relationship, 'type')) ??
          (type === undefined ? undefined : library.relationshipOf(type, name)),
        relationshipProperties: entriesOf(childOf(relationship, 'properties')),
        line: requirement.line,
        column: requirement.column,
      });
    }
  }
  return read;
}

function readArtifacts(
  body: Located,
  library: TypeLibrary,
  path: string,
  diagnostics: Diagnostics,
): Map<string, Artifact> {
  const read = new Map<string, Artifact>();
  for (const [name, artifact] of entriesOf(childOf(body, 'artifacts'))) {
    const type = textOf(childOf(artifact, 'type'));
    if (type !== undefined && library.resolve('artifact', type) === undefined) {
      const hint = suggestion(type, library.names('artifact'));
      diagnostics.error(
        'unknown-artifact-type',
        artifact,
        `${path}.artifacts.${name}`,
        `unknown artifact type "${type}"${hint}`,
      );
    }
    read.set(name, { file: artifact.kind === 'scalar' ? artifact : childOf(artifact, 'file'), type });
  }
  return read;
}

function checkCycles(nodes: ReadonlyMap<string, NodeTemplate>, diagnostics: Diagnostics): void {
  const left = new Set(nodes.keys());
  let freed = true;
  while (freed) {
    freed = false;
    for (const name of left) {
      const blocked = nodes.get(name)?.requirements.some((requirement) => left.has(requirement.target ?? ''));
      if (blocked !== true) {
        left.delete(name);
        freed = true;
      }
    }
  }
  const first = nodes.get([...left][0] ?? '');
  if (first === undefined) return;
  const message = `the requirements of these node templates form a cycle: ${[...left].join(', ')}`;
  diagnostics.error('cycle', first, join('node_templates', first.name), message);
}

/** Node templates so that each comes after those it requires. */
export function inTopologicalOrder(nodes: ReadonlyMap<string, NodeTemplate>): NodeTemplate[] {
  const ordered: NodeTemplate[] = [];
  // Marked before its requirements are visited, so that a cycle (an error elsewhere) ends here.
  const visited = new Set<NodeTemplate>();
  const visit = (node: NodeTemplate) => {
    if (visited.has(node)) return;
    visited.add(node);
    for (const { target } of node.requirements) {
      const required = target === undefined ? undefined : nodes.get(target);
      if (required !== undefined) visit(required);
    }
    ordered.push(node);
  };
  for (const node of nodes.values()) visit(node);
  return ordered;
}
