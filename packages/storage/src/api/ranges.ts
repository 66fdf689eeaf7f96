/** A part of a file; `end` is the position after the last byte. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** More than this many parts of one answer are nobody's honest need (brief teapot 2.2). */
const MAXIMUM_RANGES = 1000;

/**
 * Reads `Range: bytes=…` against a file of `size` bytes (RFC 9110 section 14.2). A range that begins inside and ends
 * outside is clipped; overlapping ranges are merged, so that no byte is sent twice.
 *
 * @returns the satisfiable ranges; an empty list: none is, answer 416; `undefined`: no valid range, send the whole file.
 * @example parseRanges('bytes=0-3,-2', 10) // [{ start: 0, end: 4 }, { start: 8, end: 10 }]
 */
export function parseRanges(text: string | undefined, size: number): ByteRange[] | undefined {
  const [, list] = /^bytes=(.+)$/i.exec(text?.trim() ?? '') ?? [];
  if (list === undefined) return undefined;
  const specifications = list.split(',').map((part) => part.trim());
  if (specifications.length > MAXIMUM_RANGES) return undefined;
  const ranges: ByteRange[] = [];
  for (const specification of specifications) {
    if (specification === '') continue;
    const [, first, last] = /^(\d*)-(\d*)$/.exec(specification) ?? [];
    if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
    if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
    const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
    const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
    if (start < end) ranges.push({ start, end });
  }
  return mergeOverlapping(ranges);
}

/** Keeps the order asked for when nothing overlaps. */
function mergeOverlapping(ranges: ByteRange[]): ByteRange[] {
  const sorted = ranges.toSorted((one, other) => one.start - other.start);
  const overlap = sorted.some((range, index) => index > 0 && range.start < (sorted[index - 1]?.end ?? 0));
  if (!overlap) return ranges;
  const merged: ByteRange[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last && range.start <= last.end)
      merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else merged.push(range);
  }
  return merged;
}
