import {
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { currentSpan, withSpan } from './current-span.ts';
import { redactText } from './redact.ts';
import type { ActiveSpan, Attributes, Tracing, TracingOptions } from './spans.ts';

/** Spans by OpenTelemetry's SDK, sent as OTLP over HTTP in batches. Attributes pass the log's redaction. */
export function createOtlpTracing(options: TracingOptions): Tracing {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': options.serviceName }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.ratio) }),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: options.url }) })],
  });
  const tracer = provider.getTracer('weft');
  const propagator = new W3CTraceContextPropagator();

  function start(name: string, kind: SpanKind, attributes: Attributes, parent: Context): ActiveSpan {
    const span = tracer.startSpan(name, { kind, attributes: redacted(attributes) }, parent);
    const context = trace.setSpan(parent, span);
    const headers: Record<string, string> = {};
    propagator.inject(context, headers, defaultTextMapSetter);
    const { traceId } = span.spanContext();
    return {
      headers,
      run: (work) => withSpan({ context, traceId }, work),
      end: (outcome) => end(span, outcome),
    };
  }

  return {
    serverSpan: (name, headers, attributes) =>
      start(
        name,
        SpanKind.SERVER,
        attributes,
        propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter),
      ),
    clientSpan: (name, attributes) =>
      start(name, SpanKind.CLIENT, attributes, currentSpan()?.context ?? ROOT_CONTEXT),
    stop: () => provider.shutdown(),
  };
}

function end(span: Span, { status, error }: { status?: number; error?: string }): void {
  if (status !== undefined) span.setAttribute('http.response.status_code', status);
  if (error !== undefined || (status ?? 0) >= 500)
    span.setStatus({
      code: SpanStatusCode.ERROR,
      ...(error === undefined ? {} : { message: redactText(error) }),
    });
  span.end();
}

function redacted(attributes: Attributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === 'string' ? redactText(value) : value,
    ]),
  );
}
