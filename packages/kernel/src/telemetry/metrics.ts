import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Prometheus metrics of one process; `/.weft/metrics` prints them. Names begin with `weft_`. */
export interface Metrics {
  readonly registry: Registry;
  counter(name: string, help: string, labelNames?: readonly string[]): Counter<string>;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge<string>;
  histogram(
    name: string,
    help: string,
    labelNames?: readonly string[],
    buckets?: readonly number[],
  ): Histogram<string>;
}

/** Asking twice for a name gives the same metric, so components need not pass them around. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const known = new Map<string, Counter<string> | Gauge<string> | Histogram<string>>();

  function once<M extends Counter<string> | Gauge<string> | Histogram<string>>(
    name: string,
    kind: new (...args: never[]) => M,
    make: () => M,
  ): M {
    const existing = known.get(name);
    if (existing instanceof kind) return existing;
    const made = make();
    known.set(name, made);
    return made;
  }

  return {
    registry,
    counter: (name, help, labelNames = []) =>
      once(
        name,
        Counter,
        () => new Counter({ name, help, labelNames: [...labelNames], registers: [registry] }),
      ),
    gauge: (name, help, labelNames = []) =>
      once(name, Gauge, () => new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] })),
    histogram: (name, help, labelNames = [], buckets) =>
      once(
        name,
        Histogram,
        () =>
          new Histogram({
            name,
            help,
            labelNames: [...labelNames],
            registers: [registry],
            ...(buckets ? { buckets: [...buckets] } : {}),
          }),
      ),
  };
}

/**
 * Prints what several processes have measured as one page. Each sample has the label `process` already, so that sums are
 * right and a process that starts again resets its own counters only; `weft_process_answers` says who is on the page.
 */
export async function printTogether(
  pages: readonly { process: number; answer: unknown }[],
  count: number,
): Promise<string> {
  const answered = new Set(pages.filter(({ answer }) => Array.isArray(answer)).map(({ process }) => process));
  const answers = {
    name: 'weft_process_answers',
    help: 'Whether each process that shares the port has answered (1) or not (0)',
    type: 'gauge',
    aggregator: 'sum',
    values: Array.from({ length: count }, (_, index) => ({
      value: answered.has(index + 1) ? 1 : 0,
      labels: { process: String(index + 1) },
    })),
  };
  // No two samples have the same labels: whatever would be left out or averaged otherwise is printed as it is.
  const families = pages.map(({ answer }) =>
    (Array.isArray(answer) ? answer : []).map((family: object) => ({ ...family, aggregator: 'sum' })),
  );
  return AggregatorRegistry.aggregate([[answers], ...families]).metrics();
}
