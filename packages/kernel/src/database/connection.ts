import { isAbsolute } from 'node:path';
import pg from 'pg';
import type { Secret } from '../config/secret.ts';
import { ExitError } from '../errors/index.ts';

/** How to reach a PostgreSQL by parts; the embedded one is reached by its socket folder as `host`. */
export interface DatabaseConnection {
  /** A host name, or the absolute path of the folder that holds the Unix socket. */
  readonly host: string;
  /** Default 5432; names the socket file too. */
  readonly port?: number;
  readonly user: string;
  readonly password: Secret;
  readonly database: string;
}

/** Either a URL (`postgres://user:password@host/database`) or the parts. */
export type DatabaseTarget =
  | { readonly url: string | Secret; readonly connection?: undefined }
  | { readonly connection: DatabaseConnection; readonly url?: undefined };

const INT8 = 20;
const DATE = 1082;

function parseInt8(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`bigint ${text} from the database does not fit a number: select it as text`);
}

/**
 * How values arrive: int8 as a number (an error beyond 2^53, never a rounded value), numeric as text, timestamptz as
 * Date, date as `YYYY-MM-DD` (a Date would shift with the time zone).
 */
const valueTypes = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === INT8 && format !== 'binary') return parseInt8;
    if (oid === DATE && format !== 'binary') return (text: string) => text;
    return pg.types.getTypeParser(oid, format);
  },
};

/** Settings of one `pg` client or pool for this target. `parameters` are server settings of the session. */
export function clientSettings(
  target: DatabaseTarget,
  applicationName: string,
  parameters: Readonly<Record<string, string>> = {},
): pg.ClientConfig {
  const options = Object.entries({ TimeZone: 'UTC', ...parameters })
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
  const shared = { application_name: applicationName, keepAlive: true, options, types: valueTypes };
  if (target.connection === undefined) {
    const url = typeof target.url === 'string' ? target.url : target.url.reveal();
    return { ...shared, connectionString: url };
  }
  const { host, port, user, password, database } = target.connection;
  return { ...shared, host, port: port ?? 5432, user, password: password.reveal(), database };
}

/** The target for people: `postgres://weft@db.example:5432/weft`, without the password. */
export function describeTarget(target: DatabaseTarget): string {
  if (target.connection !== undefined) {
    const { host, port, user, database } = target.connection;
    return isAbsolute(host)
      ? `${host} (database ${database})`
      : `${user}@${host}:${port ?? 5432}/${database}`;
  }
  const text = typeof target.url === 'string' ? target.url : target.url.reveal();
  if (!URL.canParse(text)) return 'database.url';
  const url = new URL(text);
  url.password = '';
  return url.toString();
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ECONNRESET',
  'EACCES',
]);

/** SQLSTATE or system error code of whatever a query threw. */
export function errorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** One message with the mend for a connection that cannot be made; anything unknown is given back unchanged. */
export function explainConnectionFailure(error: unknown, target: DatabaseTarget): unknown {
  const code = errorCode(error);
  const place = describeTarget(target);
  if (code === undefined) return error;
  if (UNREACHABLE.has(code)) {
    return new ExitError(
      69,
      `PostgreSQL at ${place} cannot be reached (${code}). Start it, or correct database.url.`,
      {
        cause: error,
      },
    );
  }
  if (code === '28P01' || code === '28000') {
    return new ExitError(
      77,
      `PostgreSQL at ${place} refuses the user or the password. Correct database.url.`,
      {
        cause: error,
      },
    );
  }
  if (code === '3D000') {
    return new ExitError(
      78,
      `PostgreSQL at ${place} has no such database. Create it, or correct database.url.`,
      {
        cause: error,
      },
    );
  }
  return error;
}
