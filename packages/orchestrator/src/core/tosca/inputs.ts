import { coerce, coerceLocated } from './coerce.ts';
import { OPERATORS, violation } from './constraints.ts';
import type { Diagnostics, Position } from './diagnostics.ts';
import { suggestion } from './diagnostics.ts';
import { type Json, type Located, plain } from './located.ts';
import type { ServiceTemplate } from './service-template.ts';
import type { PropertyDefinition, TypeLibrary } from './type-library.ts';

/**
 * Values of the template's inputs: the caller's parameters, read as the declared type, or defaults. Missing ones, wrong
 * types and broken constraints go into `diagnostics`. Parameters without an input of that name are a warning.
 */
export function resolveInputs(
  template: ServiceTemplate,
  parameters: Readonly<Record<string, Json>>,
  diagnostics: Diagnostics,
): ReadonlyMap<string, Json> {
  const values = new Map<string, Json>();
  for (const [name, definition] of template.inputs) {
    const path = `inputs.${name}`;
    const type = template.library.primitive(definition.type);
    const given = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (given !== undefined && given !== null) {
      const coerced = coerce(given, type);
      if ('problem' in coerced) {
        diagnostics.error('bad-input', definition, path, `input "${name}": ${coerced.problem}`);
        continue;
      }
      values.set(name, coerced.value);
    } else if (definition.default !== undefined) {
      const coerced = coerceLocated(definition.default, plain(definition.default), type);
      if ('problem' in coerced) {
        diagnostics.error(
          'bad-default',
          definition.default,
          path,
          `default of input "${name}": ${coerced.problem}`,
        );
        continue;
      }
      values.set(name, coerced.value);
    } else {
      if (definition.required)
        diagnostics.error('missing-input', definition, path, `the input "${name}" is required`);
      continue;
    }
    checkConstraints(
      template.library,
      definition,
      values.get(name) ?? null,
      `input "${name}"`,
      path,
      definition,
      diagnostics,
    );
  }
  for (const name of Object.keys(parameters)) {
    if (template.inputs.has(name)) continue;
    const hint = suggestion(name, template.inputs.keys());
    diagnostics.warning(
      'unknown-input',
      { line: 0, column: 0 },
      `inputs.${name}`,
      `unknown input "${name}"${hint}`,
    );
  }
  return values;
}

/** Checks a value against the constraints of its definition; the clauses' operands are read as the same type. */
export function checkConstraints(
  library: TypeLibrary,
  definition: PropertyDefinition,
  value: Json,
  what: string,
  path: string,
  at: Position,
  diagnostics: Diagnostics,
): void {
  const type = library.primitive(definition.type);
  for (const clause of definition.constraints) {
    for (const [operator, written] of clause.kind === 'map' ? clause.entries : []) {
      if (!OPERATORS.has(operator)) {
        const hint = suggestion(operator, OPERATORS);
        diagnostics.error('unknown-constraint', written, path, `unknown constraint "${operator}"${hint}`);
        continue;
      }
      const operand = readOperand(operator, written, (node) => {
        const coerced = coerceLocated(node, plain(node), type);
        return 'value' in coerced ? coerced.value : plain(node);
      });
      const problem = violation(type.name, value, { operator, operand });
      if (problem !== undefined) diagnostics.error('constraint', at, path, `${what} ${problem}`);
    }
  }
}

function readOperand(operator: string, written: Located, read: (node: Located) => Json): Json {
  const isList = operator === 'valid_values' || operator === 'in_range';
  if (isList && written.kind === 'list') return written.items.map(read);
  return operator.includes('length') || operator === 'pattern' || operator === 'schema'
    ? plain(written)
    : read(written);
}
