import { RE2JS, RE2JSException } from 're2js';
import { isList, isObject, type Json } from './located.ts';
import { isScalarUnit, scalarUnit } from './units.ts';

/** One constraint clause, e.g. `{ in_range: [1, 4] }` (TOSCA 1.3, 3.6.3); values are already of the constrained type. */
export interface Constraint {
  readonly operator: string;
  readonly operand: Json;
}

export const OPERATORS: ReadonlySet<string> = new Set([
  'equal',
  'greater_than',
  'greater_or_equal',
  'less_than',
  'less_or_equal',
  'in_range',
  'valid_values',
  'length',
  'min_length',
  'max_length',
  'pattern',
  'schema',
]);

/** Why `value` breaks the constraint, or undefined when it does not. */
export function violation(type: string, value: Json, { operator, operand }: Constraint): string | undefined {
  const compared = comparable(type, value);
  const shown = JSON.stringify(operand);
  switch (operator) {
    case 'equal':
      return same(type, value, operand) ? undefined : `must be ${shown}`;
    case 'greater_than':
      return ordered(compared, comparable(type, operand), (a, b) => a > b)
        ? undefined
        : `must be greater than ${shown}`;
    case 'greater_or_equal':
      return ordered(compared, comparable(type, operand), (a, b) => a >= b)
        ? undefined
        : `must be at least ${shown}`;
    case 'less_than':
      return ordered(compared, comparable(type, operand), (a, b) => a < b)
        ? undefined
        : `must be less than ${shown}`;
    case 'less_or_equal':
      return ordered(compared, comparable(type, operand), (a, b) => a <= b)
        ? undefined
        : `must be at most ${shown}`;
    case 'in_range':
      return inRange(type, compared, operand) ? undefined : `must be in the range ${shown}`;
    case 'valid_values':
      return isList(operand) && operand.some((allowed) => same(type, value, allowed))
        ? undefined
        : `must be one of ${shown}`;
    case 'length':
      return lengthOf(value) === operand ? undefined : `must have the length ${shown}`;
    case 'min_length':
      return ordered(lengthOf(value), operand, (a, b) => a >= b)
        ? undefined
        : `must have at least the length ${shown}`;
    case 'max_length':
      return ordered(lengthOf(value), operand, (a, b) => a <= b)
        ? undefined
        : `must have at most the length ${shown}`;
    case 'pattern':
      return typeof operand === 'string' && matches(operand, String(value))
        ? undefined
        : `must match ${shown}`;
    default:
      return undefined;
  }
}

function comparable(type: string, value: Json | undefined): number | string | undefined {
  if (typeof value === 'string' && isScalarUnit(type)) return scalarUnit(type, value);
  if (type === 'timestamp' && typeof value === 'string') return Date.parse(value);
  return typeof value === 'number' || typeof value === 'string' ? value : undefined;
}

function same(type: string, a: Json, b: Json): boolean {
  const [left, right] = [comparable(type, a), comparable(type, b)];
  if (left !== undefined && right !== undefined) return left === right;
  return JSON.stringify(a) === JSON.stringify(b);
}

function ordered(
  a: Json | undefined,
  b: Json | undefined,
  holds: (a: number | string, b: number | string) => boolean,
): boolean {
  if (typeof a === 'number' && typeof b === 'number') return holds(a, b);
  if (typeof a === 'string' && typeof b === 'string') return holds(a, b);
  return false;
}

function inRange(type: string, value: number | string | undefined, operand: Json): boolean {
  if (!isList(operand) || operand.length !== 2) return false;
  const [low, high] = operand;
  const above = low === 'UNBOUNDED' || ordered(value, comparable(type, low), (a, b) => a >= b);
  const below = high === 'UNBOUNDED' || ordered(value, comparable(type, high), (a, b) => a <= b);
  return above && below;
}

function lengthOf(value: Json): number | undefined {
  if (typeof value === 'string') return [...value].length;
  if (isList(value)) return value.length;
  return isObject(value) ? Object.keys(value).length : undefined;
}

/**
 * Whether the whole text matches; false for a pattern that RE2 does not know. RE2 takes time in proportion to the text
 * whatever the pattern is, so a template cannot keep the process busy; a time limit would refuse good values on a busy day.
 */
function matches(pattern: string, text: string): boolean {
  try {
    return RE2JS.matches(pattern, text);
  } catch (error) {
    if (error instanceof RE2JSException) return false;
    throw error;
  }
}
