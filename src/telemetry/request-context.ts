import { AsyncLocalStorage } from 'node:async_hooks'
import type { TraceParent } from './tracing.ts'

/** What everything that is done for a request may want to know of it. */
export interface RequestContext {
  /** As in its log line and in the header X-Request-Id. */
  readonly requestId: string
  /** Null while nothing is traced. */
  readonly traceparent: TraceParent | null
}

const contexts = new AsyncLocalStorage<RequestContext>()

/** Lets all that the work calls know for which request it is, so that not every interface has to hand it on. */
export function withinRequest (context: RequestContext, work: () => void): void {
  contexts.run(context, work)
}

/** Null outside of any request. */
export function currentRequest (): RequestContext | null {
  return contexts.getStore() ?? null
}
