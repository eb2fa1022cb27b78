/** A position in a trace, in its transport form: `traceparent` of https://www.w3.org/TR/trace-context/. */
export type TraceParent = string

export type SpanKind = 'server' | 'client' | 'consumer' | 'internal'
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** A part of a trace that is under way. */
export interface OpenSpan {
  /** The parent for further spans; null while nothing is traced. */
  readonly traceparent: TraceParent | null
  set (attributes: Attributes): void
  /** Ends it as failed. */
  fail (error: unknown): void
  end (): void
}

export interface SpanOptions {
  readonly kind: SpanKind
  /** Its parent; without one a new trace begins. */
  readonly parent: TraceParent | null
  readonly attributes?: Attributes
  /** Milliseconds since the epoch; now if omitted. */
  readonly startedAt?: number
}

/**
 * One trace covers a request, its job and generation, and the webhook that reports it, across all processes involved:
 * the job carries it.
 */
export interface Tracing {
  readonly enabled: boolean
  begin (name: string, options: SpanOptions): OpenSpan
  /** Sends the remaining spans. */
  close (): Promise<void>
}

const nothing = () => {}

/** A span while nothing is traced. It passes on its parent. */
function passing (traceparent: TraceParent | null): OpenSpan {
  return { traceparent, set: nothing, fail: nothing, end: nothing }
}

export const noTracing: Tracing = {
  enabled: false,
  begin: (_name, { parent }) => passing(parent),
  close: async () => {}
}

/** Does some work as a span of a trace; the span fails if the work does. */
export async function traced<Outcome> (
  tracing: Tracing, name: string, options: SpanOptions, work: (span: OpenSpan) => Promise<Outcome>
): Promise<Outcome> {
  const span = tracing.begin(name, options)
  try {
    return await work(span)
  } catch (error) {
    span.fail(error)
    throw error
  } finally {
    span.end()
  }
}

/**
 * The facts of a request that belong to its job. Passed on as an argument: on Node 20 an AsyncLocalStorage makes every
 * promise of the process slower.
 */
export interface RequestContext {
  /** As in its log line and in the header X-Request-Id. */
  readonly requestId: string
  /** Null while nothing is traced. */
  readonly traceparent: TraceParent | null
}
