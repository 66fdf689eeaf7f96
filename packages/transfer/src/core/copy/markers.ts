/** What a storage says while it copies (brief fts 3.4): markers with the bytes so far, then one verdict. */
export type CopyLine =
  | { readonly kind: 'marker'; readonly bytes: number }
  | { readonly kind: 'success' }
  | { readonly kind: 'failure'; readonly text: string };

/** A line longer than this is not a performance marker but a storage gone mad. */
const LONGEST_LINE = 64 * 1024;

/**
 * Reads the chunked text of a third-party copy. Stripes are added up; a count that goes backwards is clamped, because
 * some storages send such; the last line may lack its newline.
 */
export function createMarkerReader(): {
  read(chunk: Uint8Array): CopyLine[];
  /** The text has ended. */
  end(): CopyLine[];
} {
  const decoder = new TextDecoder();
  const stripes = new Map<number, number>();
  let rest = '';
  let stripe = 0;
  let highest = 0;

  function readLine(line: string): CopyLine[] {
    const text = line.trim();
    const index = /^stripe index:\s*(\d+)/i.exec(text);
    if (index) {
      stripe = Number(index[1]);
      return [];
    }
    const bytes = /^stripe bytes transferred:\s*(\d+)/i.exec(text);
    if (bytes) {
      stripes.set(stripe, Math.max(stripes.get(stripe) ?? 0, Number(bytes[1])));
      return [];
    }
    if (/^end\b/i.test(text)) {
      const sum = [...stripes.values()].reduce((total, count) => total + count, 0);
      highest = Math.max(highest, Number.isSafeInteger(sum) ? sum : highest);
      return [{ kind: 'marker', bytes: highest }];
    }
    if (/^success\b/i.test(text)) return [{ kind: 'success' }];
    if (/^(failure|failed|aborted|error)\b/i.test(text)) return [{ kind: 'failure', text }];
    return [];
  }

  function take(text: string): CopyLine[] {
    rest += text;
    const lines = rest.split(/\r?\n/);
    rest = (lines.pop() ?? '').slice(0, LONGEST_LINE);
    return lines.flatMap(readLine);
  }

  return {
    read: (chunk) => take(decoder.decode(chunk, { stream: true })),
    end: () => take(`${decoder.decode()}\n`),
  };
}
