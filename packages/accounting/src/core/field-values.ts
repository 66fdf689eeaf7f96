/** Values of record fields (brief accounting 2.4, 7). Each reader gives the value, or throws a `FieldError` for the sender. */

export class FieldError extends Error {
  override readonly name = 'FieldError';
}

const LONGEST_TEXT = 255;
const ABSENT = new Set(['', 'none', 'null']);

/** `none`, `null` and nothing at all mean that there is no value, in any case. */
export function isAbsent(value: string): boolean {
  return ABSENT.has(value.toLowerCase());
}

export function readText(value: string, longest = LONGEST_TEXT): string {
  if (value.length > longest) throw new FieldError(`longer than ${longest} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for; PostgreSQL has no NUL in texts
  if (/[\u0000-\u0008\u000e-\u001f\u007f]/.test(value)) throw new FieldError('has a control character');
  return value;
}

/** A whole number that is not negative; beyond 2^53 it could not be summed exactly. */
export function readCount(value: string, largest = Number.MAX_SAFE_INTEGER): number {
  if (!/^\+?\d+$/.test(value)) throw new FieldError(`"${shorten(value)}" is not a whole number from 0 on`);
  const count = Number(value);
  if (count > largest) throw new FieldError(`${shorten(value)} is larger than ${largest}`);
  return count;
}

/** A benchmark value: positive, of APEL's decimal(10,3). */
export function readBenchmark(value: string): number {
  const benchmark = /^\+?\d+(\.\d*)?$/.test(value) ? Number(value) : Number.NaN;
  if (!(benchmark > 0) || benchmark >= 10_000_000)
    throw new FieldError(`"${shorten(value)}" is not a benchmark value`);
  return benchmark;
}

/** Seconds since 1970, or ISO 8601 with a zone (upstream takes `Z` only, and shifts it when its server is not in UTC). */
export function readTime(value: string): Date {
  if (/^\d{1,10}$/.test(value)) return new Date(Number(value) * 1000);
  const match = /^\d{4}-\d{2}-\d{2}T(\d{2}):\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$/.exec(value);
  const spelled = value.replace(/([+-]\d{2})(\d{2})$/, '$1:$2');
  const time = match === null || Number(match[1]) > 23 ? new Date(Number.NaN) : new Date(spelled);
  if (Number.isNaN(time.getTime()) || time.getTime() < 0 || !hasDay(value)) {
    throw new FieldError(`"${shorten(value)}" is not a time (seconds since 1970, or YYYY-MM-DDThh:mm:ssZ)`);
  }
  return time;
}

/** `2026-02-31` is read as 3 March by `Date`. */
function hasDay(value: string): boolean {
  const day = new Date(`${value.slice(0, 10)}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().slice(0, 10) === value.slice(0, 10);
}

function shorten(value: string): string {
  return value.length > 40 ? `${value.slice(0, 40)}…` : value;
}
