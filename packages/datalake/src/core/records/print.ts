/** Values as the protocol prints them (brief rucio-api 2.0). */

/** `Tue, 03 Feb 2026 10:15:00 UTC`: always UTC, "UTC" and not "GMT". */
export function printDate(date: Date | null): string | null {
  return date === null ? null : date.toUTCString().replace('GMT', 'UTC');
}

/** `2026-02-03T10:15:00`, which only account records use. */
export function printIsoDate(date: Date | null): string | null {
  return date === null ? null : date.toISOString().slice(0, 19);
}

/** JSON with bare `Infinity` for unlimited numbers, which Python reads and JSON.stringify would turn into null. */
export function printJson(value: unknown): string {
  if (!holdsInfinity(value)) return JSON.stringify(value);
  return JSON.stringify(value, (_key, item: unknown) =>
    item === Number.POSITIVE_INFINITY ? MARKER : item,
  ).replaceAll(JSON.stringify(MARKER), 'Infinity');
}

/** Cannot stand in any text of the catalogue: PostgreSQL stores no NUL. */
const MARKER = '\u0000Infinity';

function holdsInfinity(value: unknown): boolean {
  if (value === Number.POSITIVE_INFINITY) return true;
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some(holdsInfinity);
}
