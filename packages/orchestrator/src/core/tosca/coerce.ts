import { isList, isObject, type Json, type Located } from './located.ts';
import { isScalarUnit, scalarUnit, unitNames } from './units.ts';

/** A declared type with what is inside it: `{ name: 'list', entry: { name: 'integer' } }`. */
export interface TypeReference {
  readonly name: string;
  readonly entry?: TypeReference;
}

/** The result of reading a value as a type: the value, or why it cannot be one. */
export type Coerced = { readonly value: Json } | { readonly problem: string };

/**
 * Reads a value as its declared type. Lenient where clients are (brief 8.3, 8.25): orpy sends every parameter as text, and
 * forms send lists and maps as JSON text.
 *
 * @example coerce('2', { name: 'integer' }) // { value: 2 }
 * @example coerce('[1]', { name: 'list', entry: { name: 'integer' } }) // { value: [1] }
 */
export function coerce(value: Json, type: TypeReference, source?: string): Coerced {
  const bad = { problem: `${show(value)} is not of the type ${type.name}` };
  switch (type.name) {
    case 'string':
    case 'version':
      if (typeof value === 'string') return { value };
      if (typeof value === 'number' || typeof value === 'boolean') return { value: source ?? String(value) };
      return value === null ? { value: '' } : bad;
    case 'integer':
      return ofNumber(value, Number.isSafeInteger) ?? bad;
    case 'float':
      return ofNumber(value, Number.isFinite) ?? bad;
    case 'boolean':
      return ofBoolean(value) ?? bad;
    case 'timestamp':
      return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? { value } : bad;
    case 'range':
      return isList(value) && value.length === 2 ? { value } : bad;
    case 'list':
      return ofList(value, type.entry) ?? bad;
    case 'map':
      return ofMap(value, type.entry) ?? bad;
    default:
      if (!isScalarUnit(type.name)) return { value };
      if (typeof value === 'string' && scalarUnit(type.name, value) !== undefined) return { value };
      return { problem: `${bad.problem} (a number with one of the units ${unitNames(type.name)})` };
  }
}

/** `coerce` for a node of the template, which knows how the scalar was written. */
export function coerceLocated(node: Located, value: Json, type: TypeReference): Coerced {
  return coerce(value, type, node.kind === 'scalar' ? node.source : undefined);
}

function ofNumber(value: Json, allowed: (value: number) => boolean): Coerced | undefined {
  const number = typeof value === 'string' && /^[+-]?(\d|\.\d)/.test(value.trim()) ? Number(value) : value;
  return typeof number === 'number' && allowed(number) ? { value: number } : undefined;
}

function ofBoolean(value: Json): Coerced | undefined {
  if (typeof value === 'boolean') return { value };
  if (typeof value !== 'string') return undefined;
  const text = value.toLowerCase();
  if (['true', 'yes', 'on'].includes(text)) return { value: true };
  return ['false', 'no', 'off'].includes(text) ? { value: false } : undefined;
}

function ofList(value: Json, entry: TypeReference | undefined): Coerced | undefined {
  const list = typeof value === 'string' ? parseJson(value) : value;
  if (!isList(list)) return undefined;
  if (entry === undefined) return { value: list };
  const items: Json[] = [];
  for (const item of list) {
    const coerced = coerce(item, entry);
    if ('problem' in coerced) return coerced;
    items.push(coerced.value);
  }
  return { value: items };
}

function ofMap(value: Json, entry: TypeReference | undefined): Coerced | undefined {
  const map = typeof value === 'string' ? parseJson(value) : value;
  if (!isObject(map)) return undefined;
  if (entry === undefined) return { value: map };
  const items: [string, Json][] = [];
  for (const [key, item] of Object.entries(map)) {
    const coerced = coerce(item, entry);
    if ('problem' in coerced) return coerced;
    items.push([key, coerced.value]);
  }
  return { value: Object.fromEntries(items) };
}

function parseJson(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

function show(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
