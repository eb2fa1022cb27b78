import type { HttpAnswer, HttpClient, HttpRequest } from '../lib/http/client.ts'
import type { Destination } from '../lib/http/connect.ts'

/** Keeps requests away from servers that are out of reach or starting: an A1111 that is starting ends by one. */
export interface StartGuard {
  /**
   * Resolves when a request may be sent now; what becomes of it is to be told.
   * @throws GenerationFailure why none may, with the time after which it is worth another try
   */
  enter (request: Pick<HttpRequest, 'url' | 'method' | 'signal'>): Promise<Visit>
  /** Called before each connection, for which a request may have waited since it was let in. @throws as `enter` */
  admit (destination: Destination): void
}

/** One request that was let in. */
export interface Visit {
  answered (status: number): Promise<void>
  /** No answer came, or it broke off. */
  failed (error: unknown): Promise<void>
  /** Ended by ourselves. */
  left (): void
}

/** The same client, whose requests the guard lets in one by one. */
export function guardedHttp (http: HttpClient, guard: StartGuard | undefined): HttpClient {
  if (guard === undefined) return http
  return {
    close: http.close,
    async request (request, onConnected) {
      const visit = await guard.enter(request)
      let answer: HttpAnswer
      try {
        answer = await http.request(request, onConnected)
      } catch (error) {
        if (request.signal.aborted) visit.left()
        else await visit.failed(error)
        throw error
      }
      await visit.answered(answer.statusCode)
      answer.body.once('error', error => {
        if (!request.signal.aborted && !isLeftUnread(error)) visit.failed(error).catch(() => undefined)
      })
      return answer
    }
  }
}

/** An answer that nobody wants to read to its end, such as a web page, is ended by ourselves: the server is well. */
function isLeftUnread (error: Error): boolean {
  return ['ABORT_ERR', 'UND_ERR_ABORTED'].includes(String((error as NodeJS.ErrnoException).code))
}
