import { AsyncLocalStorage } from 'node:async_hooks';
import type { Context } from '@opentelemetry/api';

/** What runs now: the OpenTelemetry context, and its trace for the log. */
export interface CurrentSpan {
  readonly context: Context;
  readonly traceId: string;
}

const current = new AsyncLocalStorage<CurrentSpan>();

export function currentSpan(): CurrentSpan | undefined {
  return current.getStore();
}

export function withSpan<Result>(span: CurrentSpan, work: () => Result): Result {
  return current.run(span, work);
}
