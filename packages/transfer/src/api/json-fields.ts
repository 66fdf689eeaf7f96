import { WeftError } from '@weft/kernel/errors';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function invalid(message: string): WeftError {
  return new WeftError('invalid', 'invalid-request', message);
}

function wrongType(key: string, expected: string): WeftError {
  return invalid(`Invalid value within the request: '${key}' must be ${expected}`);
}

/** `null` means "not given" everywhere in this protocol (brief fts 2.6, 8.1 item 10). */
function given(object: JsonObject, key: string): unknown {
  return object[key] ?? undefined;
}

export function readBoolean(object: JsonObject, key: string): boolean {
  const value = given(object, key) ?? false;
  if (typeof value !== 'boolean') throw wrongType(key, 'true or false');
  return value;
}

/** An integer that a number holds exactly; numerals in a string count, because forms and old clients send them. */
export function readInteger(object: JsonObject, key: string): number | undefined {
  const value = given(object, key);
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw wrongType(key, 'an integer');
  return number;
}

export function readString(object: JsonObject, key: string): string | undefined {
  const value = given(object, key);
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw wrongType(key, 'a string');
  return value;
}

export function readStrings(object: JsonObject, key: string): readonly string[] | undefined {
  const value = given(object, key);
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw wrongType(key, 'a list of strings');
  return value.map((item) => {
    if (typeof item !== 'string') throw wrongType(key, 'a list of strings');
    return item;
  });
}

/** An object, or a string that becomes `{"label": string}`; null when absent. `limit` in bytes of JSON text. */
export function readMetadata(object: JsonObject, key: string, limit: number): unknown {
  const value = given(object, key);
  if (value === undefined) return null;
  if (typeof value !== 'string' && !isObject(value)) throw invalid('Metadata neither JSON nor String');
  const metadata = typeof value === 'string' ? { label: value } : value;
  const text = JSON.stringify(metadata);
  if (Buffer.byteLength(text) > limit)
    throw invalid(`Invalid value within the request: '${key}' is larger than ${limit} bytes`);
  if (text.includes('\\u0000'))
    throw invalid(`Invalid value within the request: '${key}' has a null character`);
  return metadata;
}
