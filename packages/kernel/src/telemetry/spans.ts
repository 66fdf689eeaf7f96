/** Where traces go, when they go anywhere. */
export interface TracingOptions {
  /** Of the OTLP/HTTP receiver: `http://collector:4318/v1/traces`. */
  readonly url: string;
  /** Share of traces begun here that are kept, 0 to 1; those begun elsewhere follow their beginner. */
  readonly ratio: number;
  readonly serviceName: string;
}

export type Attributes = Readonly<Record<string, string | number>>;

/** A piece of work that is being measured. */
export interface ActiveSpan {
  /** `traceparent` and `tracestate` (W3C Trace Context) for a request that this work makes. */
  readonly headers: Readonly<Record<string, string>>;
  /** Runs `work`, and everything that follows from it, inside the span. */
  run<Result>(work: () => Result): Result;
  end(outcome: { status?: number; error?: string }): void;
}

export interface Tracing {
  /** For a request that came in; its headers say which trace it belongs to. */
  serverSpan(name: string, headers: Headers, attributes: Attributes): ActiveSpan;
  /** For a request that goes out, within whatever span is running. */
  clientSpan(name: string, attributes: Attributes): ActiveSpan;
  /** Sends what is left. */
  stop(): Promise<void>;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;
