import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { describeError, ExitError } from '../errors/index.ts';

/** EX_CONFIG of sysexits.h. */
export const EXIT_CONFIGURATION = 78;

/** A problem as `key.path: message`, one a line; what `weft` prints for a wrong configuration. */
export function describeIssues(error: z.ZodError, prefix: readonly PropertyKey[] = []): string {
  return error.issues
    .map((issue) => {
      const key = [...prefix, ...issue.path].map(String).join('.') || '(top level)';
      const unknown =
        issue.code === 'unrecognized_keys'
          ? ` Remove it, or see 'weft config schema' for the keys there are.`
          : '';
      return `${key}: ${issue.message}.${unknown}`;
    })
    .join('\n');
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
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error) throw new ExitError(EXIT_CONFIGURATION, `${file} is not YAML: ${error.message}`);
  const root = z.record(z.string(), z.unknown()).safeParse(document.toJS() ?? {});
  if (!root.success)
    throw new ExitError(EXIT_CONFIGURATION, `${file} must hold a mapping of keys to values.`);
  return applyEnvironment(root.data, environment);
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
    node[last] = parseDocument(text).toJS();
  }
  return result;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
