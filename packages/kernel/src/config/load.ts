import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { describeError, ExitError } from '../errors/index.ts';

type Yaml = typeof import('yaml');

const require = createRequire(import.meta.url);
/** Loaded when there is YAML to read: the processes of `weft up` read JSON, and start the sooner. */
const loadYaml = (): Yaml => require('yaml');

/** EX_CONFIG of sysexits.h. */
export const EXIT_CONFIGURATION = 78;

/** A problem as `key.path: message`, one a line; what `weft` prints for a wrong configuration. */
export function describeIssues(error: z.ZodError, prefix: readonly PropertyKey[] = []): string {
  return error.issues.flatMap((issue) => describeIssue(issue, prefix)).join('\n');
}

function describeIssue(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[]): string[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'invalid_union') {
    // Of the alternatives the one that fits best is what was meant.
    const [nearest] = [...issue.errors].sort((a, b) => misfit(a) - misfit(b));
    if (nearest !== undefined && nearest.length > 0)
      return nearest.flatMap((inner) => describeIssue(inner, path));
  }
  const key = path.map(String).join('.') || '(top level)';
  const hint =
    issue.code === 'unrecognized_keys'
      ? ` Remove it, or see 'weft config schema' for the keys there are.`
      : '';
  const absent = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return [absent ? `${key}: is missing.` : `${key}: ${issue.message}.${hint}`];
}

/** A wrong type at the top rules an alternative out; an unknown key makes it unlikely. */
function misfit(issues: readonly z.core.$ZodIssue[]): number {
  return issues.reduce(
    (sum, { code, path }) => sum + (path.length === 0 ? (code === 'unrecognized_keys' ? 10 : 100) : 1),
    0,
  );
}

/**
 * Reads a file that the configuration names.
 *
 * @throws {ExitError} 78 naming the key when it cannot be read.
 */
export function readConfiguredFile(key: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new ExitError(
      EXIT_CONFIGURATION,
      `${key}: ${describeError(cause)}. Mend: correct the path, or let this account read the file.`,
      { cause },
    );
  }
}

/** By others: anything; by the group: writing. Groups may read, because that is how some systems hand secrets over. */
const TOO_OPEN = 0o027;

/**
 * Requires that a file that opens everything else is this account's own, or root's, and nobody else's to read.
 *
 * @throws {ExitError} 78 naming the key and the command that mends it
 */
export function requirePrivateFile(key: string, file: string): void {
  const { mode, uid } = statSync(file);
  const own = process.getuid?.() ?? uid;
  if ((mode & TOO_OPEN) === 0 && (uid === own || uid === 0)) return;
  throw new ExitError(
    EXIT_CONFIGURATION,
    `${key}: ${file} is open to other accounts. Mend: chown ${own} ${file} && chmod 600 ${file}`,
  );
}

/**
 * Parses `value` with `schema`.
 * @throws {ExitError} 78, naming every key that is wrong and what is expected.
 */
export function parseConfiguration<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: { source: string; prefix?: readonly PropertyKey[] },
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ExitError(
    EXIT_CONFIGURATION,
    `${where.source} is not valid.\n${describeIssues(result.error, where.prefix)}`,
  );
}

/**
 * Reads a YAML (or JSON) file. Environment variables `WEFT__A__B=value` override key `a.b`; the value is read as YAML.
 * @throws {ExitError} 78 when the file cannot be read or is not YAML; the message has the line.
 */
export function readConfigurationFile(
  file: string,
  environment: NodeJS.ProcessEnv = {},
): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ExitError(
      EXIT_CONFIGURATION,
      `Cannot read the configuration ${file}: ${describeError(cause)}.`,
      { cause },
    );
  }
  const content = file.endsWith('.json') ? parseJson(text, file) : parseYaml(text, file);
  const root = z.record(z.string(), z.unknown()).safeParse(content ?? {});
  if (!root.success)
    throw new ExitError(EXIT_CONFIGURATION, `${file} must hold a mapping of keys to values.`);
  return applyEnvironment(root.data, environment);
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ExitError(EXIT_CONFIGURATION, `${file} is not JSON: ${describeError(cause)}`, { cause });
  }
}

function parseYaml(text: string, file: string): unknown {
  const document = loadYaml().parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error) throw new ExitError(EXIT_CONFIGURATION, `${file} is not YAML: ${error.message}`);
  return document.toJS();
}

/** `WEFT__DATALAKE__LISTEN__PORT=8450` sets `datalake.listen.port`. Returns a new tree. */
export function applyEnvironment(
  configuration: Record<string, unknown>,
  environment: NodeJS.ProcessEnv,
): Record<string, unknown> {
  const result = structuredClone(configuration);
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith('WEFT__') || text === undefined) continue;
    const path = name.slice('WEFT__'.length).toLowerCase().split('__');
    const last = path.pop();
    if (last === undefined || last === '') continue;
    let node = result;
    for (const key of path) {
      const child = node[key];
      const next = isRecord(child) ? child : {};
      node[key] = next;
      node = next;
    }
    node[last] = loadYaml().parseDocument(text).toJS();
  }
  return result;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
