/** Where a trace stands, in the form in which it travels: `traceparent` of https://www.w3.org/TR/trace-context/. */
export type TraceParent = string

export type SpanKind = 'server' | 'client' | 'consumer' | 'internal'
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** A part of a trace that is under way. */
export interface OpenSpan {
  /** For what follows from it; null while nothing is traced. */
  readonly traceparent: TraceParent | null
  set (attributes: Attributes): void
  /** Ends it as failed. */
  fail (error: unknown): void
  end (): void
}

export interface SpanOptions {
  readonly kind: SpanKind
  /** What it follows from; a new trace begins without. */
  readonly parent: TraceParent | null
  readonly attributes?: Attributes
  /** Milliseconds since the epoch; now if left out. */
  readonly startedAt?: number
}

/**
 * One trace goes from a request over its job and generation to the webhook that tells of it, through as many processes
 * as it takes: the job carries it.
 */
export interface Tracing {
  readonly enabled: boolean
  begin (name: string, options: SpanOptions): OpenSpan
  /** Sends what was not sent yet. */
  close (): Promise<void>
}

const nothing = () => {}

/** What a span is while nothing is traced. It hands on what it was given. */
function passing (traceparent: TraceParent | null): OpenSpan {
  return { traceparent, set: nothing, fail: nothing, end: nothing }
}

export const noTracing: Tracing = {
  enabled: false,
  begin: (_name, { parent }) => passing(parent),
  close: async () => {}
}

/** Does some work as a part of a trace, which fails if the work does. */
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
