import type { Tracing, TracingOptions } from './spans.ts';

let active: Tracing | undefined;

/** The process's tracing; `undefined` unless it is configured, and then nothing of OpenTelemetry is even loaded. */
export function activeTracing(): Tracing | undefined {
  return active;
}

/** Switches tracing on for this process; the SDK is loaded now. */
export async function startTracing(options: TracingOptions): Promise<Tracing> {
  const { createOtlpTracing } = await import('./otlp-tracing.ts');
  const tracing = createOtlpTracing(options);
  active = {
    ...tracing,
    async stop() {
      active = undefined;
      await tracing.stop();
    },
  };
  return active;
}
