import { AsyncLocalStorage } from 'node:async_hooks'
import type { TraceParent } from './tracing.ts'

/** The facts of a request that all work for it can use. */
export interface RequestContext {
  /** As in its log line and in the header X-Request-Id. */
  readonly requestId: string
  /** Null while nothing is traced. */
  readonly traceparent: TraceParent | null
}

const contexts = new AsyncLocalStorage<RequestContext>()

/** Gives everything that the work calls access to its request, so that functions need not pass it on. */
export function withinRequest (context: RequestContext, work: () => void): void {
  contexts.run(context, work)
}

/** Null outside of any request. */
export function currentRequest (): RequestContext | null {
  return contexts.getStore() ?? null
}
