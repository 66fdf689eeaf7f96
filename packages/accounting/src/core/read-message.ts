import type { RecordError } from '../db/schema.ts';

/** A record as text: fields by name, each with the line it stands on. */
export interface RawRecord {
  /** From 1. */
  readonly number: number;
  /** Line of its first field. */
  readonly line: number;
  readonly fields: ReadonlyMap<string, { readonly value: string; readonly line: number }>;
}

export interface RawMessage {
  /** `APEL-individual-job-message`; undefined when the first line is no header. */
  readonly type: string | undefined;
  /** `v0.3` */
  readonly version: string;
  readonly records: readonly RawRecord[];
  readonly errors: readonly RecordError[];
}

/**
 * Reads the text form of APEL messages (brief accounting 2.4): a header line, then `Key: value` lines, records apart by lines
 * `%%`. The last `%%` may be missing; CRLF, blank lines and blanks around anything are fine; of a repeated key the last one
 * counts. What cannot be read is an error with its line, and reading goes on.
 */
export function readMessage(text: string): RawMessage {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const header = /^([^:]+):(.*)$/.exec(lines[0] ?? '');
  const records: RawRecord[] = [];
  const errors: RecordError[] = [];
  let fields = new Map<string, { value: string; line: number }>();
  let broken = false;

  const finish = () => {
    const [first] = fields.values();
    if (first !== undefined || broken)
      records.push({ number: records.length + 1, line: first?.line ?? 0, fields });
    fields = new Map();
    broken = false;
  };

  for (const [index, line] of lines.entries()) {
    const content = line.trim();
    if (index === 0 || content === '') continue;
    if (content === '%%') {
      finish();
      continue;
    }
    const colon = content.indexOf(':');
    if (colon < 1) {
      broken = true;
      errors.push({
        record: records.length + 1,
        line: index + 1,
        key: null,
        message: 'a line without "Key: value"',
      });
      continue;
    }
    // Deleting first keeps the order of the map that of the lines, so that errors come in order.
    const key = content.slice(0, colon).trim();
    fields.delete(key);
    fields.set(key, { value: content.slice(colon + 1).trim(), line: index + 1 });
  }
  finish();
  return {
    type: header?.[1]?.trim(),
    version: header?.[2]?.replace(/[\s:]/g, '') ?? '',
    records,
    errors,
  };
}
