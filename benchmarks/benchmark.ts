/** One measured number, as `benchmarks/results/<benchmark>.json` holds it. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target: number | null;
  readonly better: 'higher' | 'lower';
  /** What it was compared with in the same run. */
  readonly peer: string | null;
  /** Ours divided by the peer's. */
  readonly ratio: number | null;
}

export interface Benchmark {
  readonly name: string;
  readonly component: string;
  run(note: (text: string) => void): Promise<Figure[]>;
}

/** The middle of the sorted values (of the two middle ones their mean). */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  if (high === undefined) throw new RangeError('the median of nothing');
  const low = sorted[middle - 1];
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}
