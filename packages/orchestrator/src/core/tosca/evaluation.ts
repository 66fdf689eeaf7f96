import { coerce } from './coerce.ts';
import type { Diagnostics } from './diagnostics.ts';
import { suggestion } from './diagnostics.ts';
import { checkConstraints } from './inputs.ts';
import { isList, isObject, type Json, type Located, type LocatedMap, plain, textOf } from './located.ts';
import type { NodeTemplate, ServiceTemplate } from './service-template.ts';
import type { PropertyDefinition } from './type-library.ts';

/** What a node is known to be at run time: `attributes('job', ['exit_code'])`; undefined when not known. */
export type Attributes = (node: string, path: readonly Json[]) => Json | undefined;

/** A value, and whether it still waits for something that only the running deployment knows. */
export interface Evaluated {
  readonly value: Json;
  readonly deferred: boolean;
}

const FUNCTIONS: ReadonlySet<string> = new Set([
  'get_input',
  'get_property',
  'get_attribute',
  'get_operation_output',
  'get_nodes_of_type',
  'get_artifact',
  'concat',
  'join',
  'token',
]);

const LONGEST_CHAIN = 100;

/** Evaluates the expressions of one template with one set of inputs (TOSCA 1.3, section 4). */
export class Evaluation {
  readonly #template: ServiceTemplate;
  readonly #inputs: ReadonlyMap<string, Json>;
  readonly #diagnostics: Diagnostics;
  readonly #attributes: Attributes | undefined;
  #depth = 0;

  constructor(
    template: ServiceTemplate,
    inputs: ReadonlyMap<string, Json>,
    diagnostics: Diagnostics,
    attributes?: Attributes,
  ) {
    this.#template = template;
    this.#inputs = inputs;
    this.#diagnostics = diagnostics;
    this.#attributes = attributes;
  }

  /** Every property of a node, read as its declared type and checked; undeclared ones pass through with a warning. */
  properties(node: NodeTemplate): ReadonlyMap<string, Json> {
    const path = `node_templates.${node.name}.properties`;
    const definitions = this.#template.library.properties('node', node.type);
    return this.#typed(node, node.properties, definitions, path);
  }

  /** As `properties`, for one capability of a node. */
  capability(node: NodeTemplate, name: string): ReadonlyMap<string, Json> {
    const type = this.#template.library.capabilities(node.type).get(name);
    const definitions =
      type === undefined ? new Map() : this.#template.library.properties('capability', type);
    const path = `node_templates.${node.name}.capabilities.${name}`;
    return this.#typed(node, node.capabilities.get(name) ?? new Map(), definitions, path);
  }

  #typed(
    node: NodeTemplate,
    written: ReadonlyMap<string, Located>,
    definitions: ReadonlyMap<string, PropertyDefinition>,
    path: string,
  ): ReadonlyMap<string, Json> {
    const values = new Map<string, Json>();
    for (const [name, definition] of definitions) {
      const expression = written.get(name) ?? definition.default;
      if (expression === undefined) {
        if (definition.required) {
          const message = `the property "${name}" of "${node.name}" (${node.type}) is required`;
          this.#diagnostics.error('missing-property', node, `${path}.${name}`, message);
        }
        continue;
      }
      const { value, deferred } = this.evaluate(expression, node, `${path}.${name}`);
      if (deferred) {
        values.set(name, value);
        continue;
      }
      const source = expression.kind === 'scalar' ? expression.source : undefined;
      const coerced = coerce(value, this.#template.library.primitive(definition.type), source);
      if ('problem' in coerced) {
        const message = `property "${name}" of "${node.name}": ${coerced.problem}`;
        this.#diagnostics.error('bad-property', expression, `${path}.${name}`, message);
        continue;
      }
      values.set(name, coerced.value);
      const what = `property "${name}" of "${node.name}"`;
      checkConstraints(
        this.#template.library,
        definition,
        coerced.value,
        what,
        `${path}.${name}`,
        expression,
        this.#diagnostics,
      );
    }
    for (const [name, expression] of written) {
      if (definitions.has(name)) continue;
      const message = `the type of "${node.name}" declares no property "${name}"`;
      this.#diagnostics.warning('unknown-property', expression, `${path}.${name}`, message);
      values.set(name, this.evaluate(expression, node, `${path}.${name}`).value);
    }
    return values;
  }

  /** The value of an expression; `self` is the node that `SELF` means. */
  evaluate(node: Located, self: NodeTemplate | undefined, path: string): Evaluated {
    if (node.kind === 'scalar') return { value: node.value, deferred: false };
    if (node.kind === 'list') {
      const items = node.items.map((item, index) => this.evaluate(item, self, `${path}.${index}`));
      return { value: items.map((item) => item.value), deferred: items.some((item) => item.deferred) };
    }
    const call = functionCall(node);
    if (call !== undefined) {
      if (this.#depth >= LONGEST_CHAIN)
        return this.#fail('function-cycle', node, path, 'its functions refer to each other in a circle');
      this.#depth += 1;
      try {
        return this.#call(call.name, call.argument, node, self, path);
      } finally {
        this.#depth -= 1;
      }
    }
    const entries = [...node.entries].map(
      ([key, item]) => [key, this.evaluate(item, self, `${path}.${key}`)] as const,
    );
    return {
      value: Object.fromEntries(entries.map(([key, item]) => [key, item.value])),
      deferred: entries.some(([, item]) => item.deferred),
    };
  }

  #call(
    name: string,
    argument: Located,
    call: LocatedMap,
    self: NodeTemplate | undefined,
    path: string,
  ): Evaluated {
    switch (name) {
      case 'get_input':
        return this.#getInput(argument, path);
      case 'get_property':
        return this.#getProperty(argument, self, path);
      case 'get_attribute':
        return this.#getAttribute(argument, call, self, path);
      case 'concat':
        return this.#concat(argument, '', self, path);
      case 'join':
        return this.#join(argument, self, path);
      case 'token':
        return this.#token(argument, self, path);
      default:
        return { value: plain(call), deferred: true };
    }
  }

  #getInput(argument: Located, path: string): Evaluated {
    const [name, ...nested] =
      argument.kind === 'list' ? argument.items.map((item) => plain(item)) : [textOf(argument) ?? null];
    if (typeof name !== 'string')
      return this.#fail('bad-function', argument, path, 'get_input needs the name of an input');
    if (!this.#template.inputs.has(name)) {
      const hint = suggestion(name, this.#template.inputs.keys());
      return this.#fail(
        'unknown-input',
        argument,
        path,
        `get_input names the unknown input "${name}"${hint}`,
      );
    }
    // An input without a value has been reported when inputs were resolved, unless it is optional: then it is null.
    return { value: descend(this.#inputs.get(name) ?? null, nested) ?? null, deferred: false };
  }

  #getProperty(argument: Located, self: NodeTemplate | undefined, path: string): Evaluated {
    const [entity, first, ...rest] =
      argument.kind === 'list' ? argument.items.map((item) => plain(item)) : [];
    const node = this.#node(entity, self);
    if (node === undefined || typeof first !== 'string') {
      return this.#fail(
        'unknown-node',
        argument,
        path,
        `get_property names the unknown node template "${String(entity)}"`,
      );
    }
    const own = node.properties.get(first);
    if (own !== undefined) return this.#within(this.evaluate(own, node, path), rest);
    const [second, ...deeper] = rest;
    const capability = typeof second === 'string' ? node.capabilities.get(first)?.get(second) : undefined;
    if (capability !== undefined) return this.#within(this.evaluate(capability, node, path), deeper);
    const required = node.requirements.find((requirement) => requirement.name === first)?.target;
    const other = required === undefined ? undefined : this.#template.nodes.get(required);
    const theirs = typeof second === 'string' ? other?.properties.get(second) : undefined;
    if (theirs !== undefined) return this.#within(this.evaluate(theirs, other, path), deeper);
    const fallback = this.#template.library.properties('node', node.type).get(first)?.default;
    if (fallback !== undefined) return this.#within(this.evaluate(fallback, node, path), rest);
    if (this.#template.library.properties('node', node.type).has(first))
      return { value: null, deferred: false };
    return this.#fail('unknown-property', argument, path, `"${node.name}" has no property "${first}"`);
  }

  #getAttribute(
    argument: Located,
    call: LocatedMap,
    self: NodeTemplate | undefined,
    path: string,
  ): Evaluated {
    const [entity, ...rest] = argument.kind === 'list' ? argument.items.map((item) => plain(item)) : [];
    const node = this.#node(entity, self);
    if (node === undefined && entity !== 'SOURCE' && entity !== 'TARGET') {
      return this.#fail(
        'unknown-node',
        argument,
        path,
        `get_attribute names the unknown node template "${String(entity)}"`,
      );
    }
    const value = node === undefined ? undefined : this.#attributes?.(node.name, rest);
    return value === undefined ? { value: plain(call), deferred: true } : { value, deferred: false };
  }

  #concat(argument: Located, separator: string, self: NodeTemplate | undefined, path: string): Evaluated {
    const parts =
      argument.kind === 'list' ? argument.items.map((item) => this.evaluate(item, self, path)) : [];
    if (parts.some((part) => part.deferred))
      return { value: { concat: parts.map((part) => part.value) }, deferred: true };
    return { value: parts.map((part) => text(part.value)).join(separator), deferred: false };
  }

  #join(argument: Located, self: NodeTemplate | undefined, path: string): Evaluated {
    const [list, separator] = argument.kind === 'list' ? argument.items : [];
    if (list === undefined)
      return this.#fail('bad-function', argument, path, 'join needs a list and a separator');
    return this.#concat(list, textOf(separator) ?? '', self, path);
  }

  #token(argument: Located, self: NodeTemplate | undefined, path: string): Evaluated {
    const [whole, separator, index] =
      argument.kind === 'list' ? argument.items.map((item) => this.evaluate(item, self, path)) : [];
    if (whole === undefined || separator === undefined || index === undefined) {
      return this.#fail('bad-function', argument, path, 'token needs a text, a separator and an index');
    }
    if (whole.deferred)
      return { value: { token: [whole.value, separator.value, index.value] }, deferred: true };
    return {
      value: text(whole.value).split(text(separator.value))[Number(index.value)] ?? null,
      deferred: false,
    };
  }

  #within(evaluated: Evaluated, path: readonly Json[]): Evaluated {
    return evaluated.deferred
      ? evaluated
      : { value: descend(evaluated.value, path) ?? null, deferred: false };
  }

  #node(entity: Json | undefined, self: NodeTemplate | undefined): NodeTemplate | undefined {
    if (entity === 'SELF') return self;
    if (entity === 'HOST') {
      const host = self?.requirements.find((requirement) => requirement.name === 'host')?.target;
      return host === undefined ? undefined : this.#template.nodes.get(host);
    }
    return typeof entity === 'string' ? this.#template.nodes.get(entity) : undefined;
  }

  #fail(code: string, at: Located, path: string, message: string): Evaluated {
    this.#diagnostics.error(code, at, path, message);
    return { value: null, deferred: true };
  }
}

function functionCall(node: LocatedMap): { name: string; argument: Located } | undefined {
  if (node.entries.size !== 1) return undefined;
  for (const [name, argument] of node.entries) if (FUNCTIONS.has(name)) return { name, argument };
  return undefined;
}

function descend(value: Json, path: readonly Json[]): Json | undefined {
  let current: Json | undefined = value;
  for (const step of path) {
    if (isList(current)) current = current[Number(step)];
    else if (isObject(current) && Object.hasOwn(current, String(step))) current = current[String(step)];
    else return undefined;
  }
  return current;
}

function text(value: Json): string {
  return typeof value === 'string'
    ? value
    : value === null
      ? ''
      : typeof value === 'object'
        ? JSON.stringify(value)
        : String(value);
}
