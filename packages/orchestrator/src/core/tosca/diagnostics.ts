import { WeftError } from '@weft/kernel/errors';

/** Where something stands in the template, both counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One finding about a template (brief 3.7). `code` is stable; `path` is the way through the document. */
export interface Diagnostic {
  readonly code: string;
  readonly severity: 'error' | 'warning';
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
}

/** More findings than this help nobody. */
const MAXIMUM_SHOWN = 20;

/** Collects findings, so that a user sees all problems of a template at once. */
export class Diagnostics {
  readonly found: Diagnostic[] = [];

  error(code: string, position: Position, path: string, message: string): void {
    this.found.push({ code, severity: 'error', ...place(position), path, message });
  }

  warning(code: string, position: Position, path: string, message: string): void {
    this.found.push({ code, severity: 'warning', ...place(position), path, message });
  }

  get errors(): readonly Diagnostic[] {
    return this.found.filter((finding) => finding.severity === 'error');
  }

  /** @throws {WeftError} `invalid`, code `tosca-invalid`: every error with its place, when there is any. */
  throwIfErrors(): void {
    const errors = this.errors;
    if (errors.length === 0) return;
    throw new WeftError('invalid', 'tosca-invalid', describeFindings(errors), {
      details: { diagnostics: errors },
    });
  }
}

function place(position: Position): Position {
  return { line: position.line, column: position.column };
}

function describeFindings(findings: readonly Diagnostic[]): string {
  const shown = findings.slice(0, MAXIMUM_SHOWN).map((finding) => {
    const where = finding.line > 0 ? `line ${finding.line}, column ${finding.column}: ` : '';
    return `${where}${finding.message}`;
  });
  const hidden = findings.length - shown.length;
  if (hidden > 0) shown.push(`and ${hidden} more`);
  return shown.join('\n');
}

/** `, did you mean "tosca.nodes.Compute"?` when a known word is close to the unknown one, else nothing. */
export function suggestion(unknown: string, known: Iterable<string>): string {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(unknown.length / 4)) + 1;
  for (const word of known) {
    const distance = editDistance(unknown.toLowerCase(), word.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = word;
      bestDistance = distance;
    }
  }
  return best === undefined ? '' : `, did you mean "${best}"?`;
}

/** Levenshtein distance, cut off at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return Math.min(previous[b.length] ?? limit, limit);
}
