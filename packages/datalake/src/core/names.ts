import { WeftError } from '@weft/kernel/errors';

/** What a name may look like (brief rucio-api 3.1, the generic schema). */
const RULES = {
  account: { pattern: /^[a-z0-9-_]+$/, longest: 25 },
  scope: { pattern: /^[a-zA-Z_\-.0-9]+$/, longest: 25 },
  name: { pattern: /^[/A-Za-z0-9][/A-Za-z0-9.\-_]*$/, longest: 250 },
  rse: { pattern: /^[A-Z0-9]+([_-][A-Z0-9]+)*$/, longest: 255 },
} as const;

export type NameKind = keyof typeof RULES;

/** A DID on the outside: `scope:name`. */
export interface DidName {
  readonly scope: string;
  readonly name: string;
}

/** @throws {WeftError} `invalid`, code `InvalidObject`. */
export function checkName(kind: NameKind, value: string): string {
  const { pattern, longest } = RULES[kind];
  if (value.length > longest || !pattern.test(value)) {
    throw new WeftError(
      'invalid',
      'InvalidObject',
      `Problem validating ${kind}: '${value.slice(0, longest)}' does not match '${pattern.source}' with at most ${longest} characters.`,
    );
  }
  return value;
}

/** New DIDs: a name is also a path on storage, so `.` and `..` segments must never get in (brief rucio-api 7). */
export function checkDidName({ scope, name }: DidName): void {
  checkName('scope', scope);
  checkName('name', name);
  if (scope === '.' || scope === '..' || name.split('/').some((part) => part === '.' || part === '..')) {
    throw new WeftError(
      'invalid',
      'InvalidObject',
      `Problem validating name: '${scope}:${name}' holds a relative path segment.`,
    );
  }
}

export function didText({ scope, name }: DidName): string {
  return `${scope}:${name}`;
}

/** Ids are 32 hexadecimal digits on the wire; clients also send them with dashes. `undefined` when it is no id. */
export function parseId(text: string): string | undefined {
  const bare = text.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(bare)) return undefined;
  return bare.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** `9f2c0d1e-…` → `9f2c0d1e…`, the form of the wire. */
export function printId(uuid: string): string {
  return uuid.replaceAll('-', '');
}
