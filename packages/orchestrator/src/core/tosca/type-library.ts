import { readFileSync } from 'node:fs';
import type { TypeReference } from './coerce.ts';
import { Diagnostics, type Position, suggestion } from './diagnostics.ts';
import { booleanOf, childOf, type Located, parseLocated, textOf } from './located.ts';

export type TypeKind =
  | 'node'
  | 'relationship'
  | 'capability'
  | 'artifact'
  | 'data'
  | 'policy'
  | 'group'
  | 'interface';

export interface PropertyDefinition {
  readonly type: TypeReference;
  readonly required: boolean;
  readonly default: Located | undefined;
  /** Clauses as written, e.g. `{ valid_values: [1, 2] }`. */
  readonly constraints: readonly Located[];
}

interface TypeDefinition extends Position {
  readonly name: string;
  readonly derivedFrom: string | undefined;
  readonly body: Located;
}

const SECTIONS: readonly [string, TypeKind][] = [
  ['node_types', 'node'],
  ['relationship_types', 'relationship'],
  ['capability_types', 'capability'],
  ['artifact_types', 'artifact'],
  ['data_types', 'data'],
  ['policy_types', 'policy'],
  ['group_types', 'group'],
  ['interface_types', 'interface'],
];

/** Sections that define types, for the check of unknown sections. */
export const TYPE_SECTIONS: readonly string[] = SECTIONS.map(([section]) => section);

const PREFIXES: Readonly<Record<TypeKind, readonly string[]>> = {
  node: ['tosca.nodes.', 'tosca.nodes.network.'],
  relationship: ['tosca.relationships.', 'tosca.relationships.network.'],
  capability: ['tosca.capabilities.', 'tosca.capabilities.network.'],
  artifact: ['tosca.artifacts.'],
  data: ['tosca.datatypes.', 'tosca.datatypes.network.'],
  policy: ['tosca.policies.'],
  group: ['tosca.groups.'],
  interface: ['tosca.interfaces.'],
};

const PRIMITIVES: ReadonlySet<string> = new Set([
  'string',
  'integer',
  'float',
  'boolean',
  'timestamp',
  'null',
  'version',
  'range',
  'list',
  'map',
  'json',
  'xml',
  'scalar-unit.size',
  'scalar-unit.time',
  'scalar-unit.frequency',
  'scalar-unit.bitrate',
]);

/** All known types by kind and name, with derivation. Local definitions of a template come on top of the bundled ones. */
export class TypeLibrary {
  readonly #types: ReadonlyMap<TypeKind, Map<string, TypeDefinition>>;

  private constructor(types: ReadonlyMap<TypeKind, Map<string, TypeDefinition>>) {
    this.#types = types;
  }

  static of(documents: readonly Located[], base?: TypeLibrary): TypeLibrary {
    const types = new Map(
      SECTIONS.map(([, kind]) => [kind, new Map(base === undefined ? [] : base.#types.get(kind))]),
    );
    for (const document of documents) {
      for (const [section, kind] of SECTIONS) {
        const definitions = childOf(document, section);
        if (definitions?.kind !== 'map') continue;
        for (const [name, body] of definitions.entries) {
          const derivedFrom = textOf(childOf(body, 'derived_from'));
          types.get(kind)?.set(name, { name, derivedFrom, body, line: body.line, column: body.column });
        }
      }
    }
    return new TypeLibrary(types);
  }

  /** The full name of a type: as given, or with a normative prefix put before a short name such as `BlockStorage`. */
  resolve(kind: TypeKind, name: string): string | undefined {
    const known = this.#types.get(kind);
    return ['', ...PREFIXES[kind]].map((prefix) => prefix + name).find((candidate) => known?.has(candidate));
  }

  /** The type and its ancestors, nearest first. A derivation that is a cycle ends where it would repeat. */
  chain(kind: TypeKind, name: string): readonly string[] {
    const chain: string[] = [];
    let current = this.resolve(kind, name);
    while (current !== undefined && !chain.includes(current)) {
      chain.push(current);
      const parent = this.#types.get(kind)?.get(current)?.derivedFrom;
      current = parent === undefined ? undefined : this.resolve(kind, parent);
    }
    return chain;
  }

  isA(kind: TypeKind, name: string, ancestor: string): boolean {
    return this.chain(kind, name).includes(ancestor);
  }

  names(kind: TypeKind): Iterable<string> {
    return this.#types.get(kind)?.keys() ?? [];
  }

  /** Properties of a type with those of its ancestors; the nearest definition wins. */
  properties(kind: TypeKind, name: string): ReadonlyMap<string, PropertyDefinition> {
    return this.#merged(kind, name, 'properties', propertyDefinition);
  }

  /** Names of capabilities of a node type with their capability types. */
  capabilities(nodeType: string): ReadonlyMap<string, string> {
    return this.#merged(
      'node',
      nodeType,
      'capabilities',
      (body) => textOf(body) ?? textOf(childOf(body, 'type')) ?? '',
    );
  }

  /** The relationship type that a node type declares for one of its requirements. */
  relationshipOf(nodeType: string, requirement: string): string | undefined {
    for (const type of this.chain('node', nodeType)) {
      const requirements = childOf(this.#types.get('node')?.get(type)?.body, 'requirements');
      if (requirements?.kind !== 'list') continue;
      for (const item of requirements.items) {
        const declared = childOf(item, requirement);
        const relationship = childOf(declared, 'relationship');
        const name = textOf(relationship) ?? textOf(childOf(relationship, 'type'));
        if (name !== undefined) return name;
      }
    }
    return undefined;
  }

  /** The primitive behind a data type: itself, or what a derived type such as `PortNumber` comes down to. */
  primitive(type: TypeReference): TypeReference {
    if (PRIMITIVES.has(type.name)) {
      return type.entry === undefined ? type : { name: type.name, entry: this.primitive(type.entry) };
    }
    const chain = this.chain('data', type.name);
    const last = this.#types.get('data')?.get(chain.at(-1) ?? '')?.derivedFrom;
    return { name: last !== undefined && PRIMITIVES.has(last) ? last : 'json' };
  }

  isDataType(name: string): boolean {
    return PRIMITIVES.has(name) || this.resolve('data', name) !== undefined;
  }

  /** Reports parents that do not exist and derivations that go round in circles, for types defined in the template. */
  check(document: Located, diagnostics: Diagnostics): void {
    for (const [section, kind] of SECTIONS) {
      const definitions = childOf(document, section);
      if (definitions?.kind !== 'map') continue;
      for (const [name, body] of definitions.entries) {
        const parent = textOf(childOf(body, 'derived_from'));
        if (parent === undefined || (kind === 'data' && PRIMITIVES.has(parent))) continue;
        const path = `${section}.${name}.derived_from`;
        const at = childOf(body, 'derived_from') ?? body;
        if (this.resolve(kind, parent) === undefined) {
          const hint = suggestion(parent, this.names(kind));
          diagnostics.error('unknown-parent-type', at, path, `unknown ${kind} type "${parent}"${hint}`);
        } else if (this.chain(kind, parent).includes(name)) {
          diagnostics.error('cyclic-derivation', at, path, `the ${kind} type "${name}" derives from itself`);
        }
      }
    }
  }

  #merged<Value>(
    kind: TypeKind,
    name: string,
    section: string,
    read: (body: Located) => Value,
  ): ReadonlyMap<string, Value> {
    const merged = new Map<string, Value>();
    for (const type of [...this.chain(kind, name)].reverse()) {
      const entries = childOf(this.#types.get(kind)?.get(type)?.body, section);
      if (entries?.kind !== 'map') continue;
      for (const [key, body] of entries.entries) merged.set(key, read(body));
    }
    return merged;
  }
}

/** Reads a property or parameter definition (TOSCA 1.3, 3.6.10 and 3.6.14). */
export function propertyDefinition(body: Located): PropertyDefinition {
  const constraints = childOf(body, 'constraints');
  const fallback = childOf(body, 'default');
  return {
    type: typeReference(body),
    required: booleanOf(childOf(body, 'required'), true),
    default: fallback,
    constraints: constraints?.kind === 'list' ? constraints.items : [],
  };
}

function typeReference(body: Located): TypeReference {
  const name = textOf(body) ?? textOf(childOf(body, 'type')) ?? 'string';
  const entry = childOf(body, 'entry_schema');
  return entry === undefined ? { name } : { name, entry: typeReference(entry) };
}

let bundled: TypeLibrary | undefined;

/** Types that need no import, and that imports by well-known names resolve to (brief 3.7). */
export function bundledTypes(): TypeLibrary {
  bundled ??= TypeLibrary.of(
    ['normative_types.yaml', 'indigo_types.yaml', 'weft_types.yaml'].map((file) => {
      const diagnostics = new Diagnostics();
      const document = parseLocated(
        readFileSync(new URL(`./types/${file}`, import.meta.url), 'utf8'),
        diagnostics,
      );
      diagnostics.throwIfErrors();
      if (document === undefined) throw new Error(`${file} is empty`);
      return document;
    }),
  );
  return bundled;
}
