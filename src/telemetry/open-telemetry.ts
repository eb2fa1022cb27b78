import { withoutTrailing } from '../lib/text.ts'
import { ROOT_CONTEXT, SpanKind as Kind, SpanStatusCode, trace, type SpanContext } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { messageOf } from '../lib/errors.ts'
import { version } from '../lib/version.ts'
import type { SpanKind, TraceParent, Tracing } from './tracing.ts'

export interface TelemetryTarget {
  /** Address of an OTLP collector that accepts HTTP, without `/v1/traces`. */
  readonly endpoint: string
  /** Sent along, for collectors that require authentication. */
  readonly headers: Readonly<Record<string, string>>
  readonly serviceName: string
}

/** Longest time that a finished span waits for others to be sent with it, in milliseconds. */
const batchEvery = 2000

const kinds: Readonly<Record<SpanKind, Kind>> = {
  server: Kind.SERVER, client: Kind.CLIENT, consumer: Kind.CONSUMER, internal: Kind.INTERNAL
}

/** Sends spans to a collector by OpenTelemetry's protocol. If the collector is away, only its spans are lost. */
export function createOpenTelemetry ({ endpoint, headers, serviceName }: TelemetryTarget): Tracing {
  const exporter = new OTLPTraceExporter({ url: `${withoutTrailing(endpoint, '/')}/v1/traces`, headers: { ...headers } })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName, 'service.version': version }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: batchEvery })]
  })
  const tracer = provider.getTracer('stablequeue', version)
  return {
    enabled: true,
    begin (name, { kind, parent, attributes, startedAt }) {
      const before = parent === null ? null : contextOf(parent)
      const context = before === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, before)
      const span = tracer.startSpan(name, {
        kind: kinds[kind],
        attributes: { ...attributes },
        ...(startedAt === undefined ? {} : { startTime: startedAt })
      }, context)
      return {
        traceparent: textOf(span.spanContext()),
        set (more) { span.setAttributes({ ...more }) },
        fail (error) { span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) }) },
        end () { span.end() }
      }
    },
    close: async () => { await provider.shutdown().catch(() => undefined) }
  }
}

function textOf ({ traceId, spanId, traceFlags }: SpanContext): TraceParent {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

/** Null for invalid text, which then begins a new trace. */
function contextOf (text: TraceParent): SpanContext | null {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(text)
  if (match === null) return null
  const [, traceId = '', spanId = '', flags = ''] = match
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return trace.isSpanContextValid(context) ? context : null
}
