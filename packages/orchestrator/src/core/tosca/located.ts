import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import type { Diagnostics, Position } from './diagnostics.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A YAML node that remembers where it stands and how it was written. */
export type Located = LocatedMap | LocatedList | LocatedScalar;

export interface LocatedMap extends Position {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, Located>;
}

interface LocatedList extends Position {
  readonly kind: 'list';
  readonly items: readonly Located[];
}

interface LocatedScalar extends Position {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /**
   * The scalar as written: `version: 16.10` is a float to YAML and would print as 16.1; the declared type decides what
   * it means (brief 3.7).
   */
  readonly source: string;
}

/** Larger templates than this are refused; the largest published ones have 0.1 MB, and parsing holds up everybody. */
const MAXIMUM_TEMPLATE_BYTES = 512 * 1024;
const MAXIMUM_DEPTH = 64;
/** Nodes after the expansion of aliases; bounds alias bombs. */
const MAXIMUM_NODES = 100_000;

/**
 * Parses YAML into a located tree. Duplicate keys are a warning and the last one wins (the published INDIGO types contain
 * one); aliases are expanded within a budget; keys are text.
 */
export function parseLocated(text: string, diagnostics: Diagnostics): Located | undefined {
  const start: Position = { line: 1, column: 1 };
  if (Buffer.byteLength(text) > MAXIMUM_TEMPLATE_BYTES) {
    diagnostics.error(
      'template-too-large',
      start,
      '',
      `the template is larger than ${MAXIMUM_TEMPLATE_BYTES} bytes`,
    );
    return undefined;
  }
  const lines = new LineCounter();
  // Users paste tabs; YAML forbids them for indentation, the original dashboard replaces them by two spaces.
  const document = parseDocument(text.replaceAll('\t', '  '), {
    uniqueKeys: false,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
  });
  for (const problem of document.errors) {
    const at = lines.linePos(problem.pos[0]);
    diagnostics.error('yaml-syntax', { line: at.line, column: at.col }, '', `bad YAML: ${problem.message}`);
  }
  if (document.errors.length > 0) return undefined;

  // The library's own look-up walks the whole document for every alias. Of equal anchors the last one counts.
  const anchors = new Map<string, Node>();
  visit(document, {
    Value: (_key, node) => {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  let budget = MAXIMUM_NODES;

  function position(node: Node | null | undefined): Position {
    const offset = node?.range?.[0];
    if (offset === undefined) return start;
    const at = lines.linePos(offset);
    return { line: at.line, column: at.col };
  }

  function convert(node: unknown, depth: number, path: string, fallback: Position): Located {
    budget -= 1;
    if (budget < 0 || depth > MAXIMUM_DEPTH) throw new TooBig(path);
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) {
        diagnostics.error('unknown-alias', position(node), path, `unknown YAML alias "*${node.source}"`);
        return { kind: 'scalar', value: null, source: '', ...position(node) };
      }
      return convert(target, depth + 1, path, fallback);
    }
    if (isMap(node)) {
      const entries = new Map<string, Located>();
      for (const pair of node.items as Pair<unknown, unknown>[]) {
        const key = isScalar(pair.key) ? (pair.key.source ?? String(pair.key.value)) : undefined;
        const at = position(pair.key as Node | null);
        if (key === undefined) {
          diagnostics.error('bad-key', at, path, `a key under "${path || '/'}" is not plain text`);
          continue;
        }
        if (entries.has(key)) {
          diagnostics.warning('duplicate-key', at, path, `duplicate key "${key}", the last one is used`);
        }
        entries.set(key, convert(pair.value, depth + 1, join(path, key), at));
      }
      return { kind: 'map', entries, ...position(node) };
    }
    if (isSeq(node)) {
      const items = node.items.map((item, index) =>
        convert(item, depth + 1, join(path, String(index)), position(node)),
      );
      return { kind: 'list', items, ...position(node) };
    }
    if (isScalar(node)) {
      const value = node.value;
      const at = node.range ? position(node) : fallback;
      if (typeof value === 'string' || typeof value === 'boolean' || value === null) {
        return { kind: 'scalar', value, source: node.source ?? String(value ?? ''), ...at };
      }
      if (typeof value === 'number' && Number.isFinite(value)) {
        return { kind: 'scalar', value, source: node.source ?? String(value), ...at };
      }
      return {
        kind: 'scalar',
        value: node.source ?? String(value),
        source: node.source ?? String(value),
        ...at,
      };
    }
    return { kind: 'scalar', value: null, source: '', ...fallback };
  }

  try {
    return convert(document.contents, 0, '', start);
  } catch (error) {
    if (!(error instanceof TooBig)) throw error;
    diagnostics.error(
      'template-too-complex',
      start,
      error.path,
      'the template nests too deep, or its aliases expand too far',
    );
    return undefined;
  }
}

class TooBig extends Error {
  readonly path: string;

  constructor(path: string) {
    super('too big');
    this.path = path;
  }
}

export function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** The plain value, with YAML's own idea of scalars. Safe for keys such as `__proto__`. */
export function plain(node: Located): Json {
  if (node.kind === 'map')
    return Object.fromEntries([...node.entries].map(([key, value]) => [key, plain(value)]));
  if (node.kind === 'list') return node.items.map(plain);
  return node.value;
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function childOf(node: Located | undefined, key: string): Located | undefined {
  return node?.kind === 'map' ? node.entries.get(key) : undefined;
}

/** The text of a scalar as it was written, or undefined for anything else (also for null). */
export function textOf(node: Located | undefined): string | undefined {
  return node?.kind === 'scalar' && node.value !== null ? node.source : undefined;
}

/** TOSCA booleans may be written as YAML 1.1 wrote them (`required: no`). */
export function booleanOf(node: Located | undefined, fallback: boolean): boolean {
  const text = textOf(node)?.toLowerCase();
  if (text === undefined) return fallback;
  if (['true', 'yes', 'on', 'y'].includes(text)) return true;
  if (['false', 'no', 'off', 'n'].includes(text)) return false;
  return fallback;
}
