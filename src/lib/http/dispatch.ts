import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { errors, type Dispatcher } from 'undici'
import type { HttpAnswer, HttpRequest } from './client.ts'

/** How a connection ended, as far as it did. */
export interface ConnectionEnd {
  readonly closed: boolean
  readonly reset: boolean
}

/**
 * Sends a request through undici. Not with its `request`: that loses what of a whole answer was not yet read when its
 * connection ends, and takes one whose last chunk is missing for whole.
 *
 * @param endOf of the connection that it goes over, where that is known
 */
export async function dispatch (
  dispatcher: Dispatcher, request: HttpRequest, options: Pick<Dispatcher.DispatchOptions, 'reset'>,
  endOf: () => ConnectionEnd = () => ({ closed: false, reset: false })
): Promise<HttpAnswer> {
  const { url, method = 'GET', headers = {}, body = null, signal, idleMs = 0 } = request
  signal.throwIfAborted()
  let controller: Dispatcher.DispatchController | undefined
  let answer: Readable | undefined
  let received = 0
  let length: number | null = null
  let chunked = false
  let abort = () => {}
  const release = () => { signal.removeEventListener('abort', abort) }

  return await new Promise<HttpAnswer>((resolve, reject) => {
    function fail (error: Error): void {
      release()
      if (answer === undefined) reject(error)
      else answer.destroy(error)
    }
    function finish (): void {
      release()
      answer?.push(null)
    }
    abort = () => {
      // undici heeds this only once there is a connection
      controller?.abort(signal.reason)
      fail(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    dispatcher.dispatch({
      ...options,
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      // A packed answer would have to be unpacked without knowing how large it gets; and A1111 would pack images, which
      // costs it far more time than it saves on the wire.
      headers: { 'accept-encoding': 'identity', ...headers },
      body,
      headersTimeout: idleMs,
      bodyTimeout: idleMs
    }, {
      onRequestStart (started) {
        controller = started
        if (signal.aborted) started.abort(signal.reason)
      },
      onResponseStart (started, statusCode, headers) {
        // Early hints and the like.
        if (statusCode < 200) return
        answer = bodyOf(started, release)
        length = headers['content-length'] === undefined ? null : Number(headers['content-length'])
        chunked = /chunked/i.test(String(headers['transfer-encoding'] ?? ''))
        resolve({ statusCode, headers: joined(headers), body: answer })
      },
      onResponseData (started, chunk) {
        received += chunk.length
        if (answer?.push(chunk) !== true) started.pause()
      },
      onResponseEnd () {
        // With `connection: close` the end of the connection counts as that of the answer. That of a whole one is not
        // seen, as undici closes the connection before.
        const { closed, reset } = endOf()
        if (reset || (closed && chunked)) fail(new errors.SocketError('the answer broke off'))
        else finish()
      },
      onResponseError (_controller, error) {
        if (answer !== undefined && received === length) finish()
        else fail(isSilence(error) ? new Error(`${url.host} sent nothing for ${idleMs / 1000} s`, { cause: error }) : error)
      }
    })
  })
}

/** The answer's body, taken no faster than it is read. */
function bodyOf (controller: Dispatcher.DispatchController, release: () => void): Readable {
  const body = new Readable({
    read () { controller.resume() },
    destroy (error, callback) {
      release()
      if (!body.readableEnded) controller.abort(error ?? new errors.RequestAbortedError())
      callback(error)
    }
  })
  // An error that comes while nobody reads must not end the process; who reads gets it.
  body.on('error', () => {})
  return body
}

function isSilence (error: Error): boolean {
  return error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError
}

/** What came several times is one text, as a receiver may read it, cookies aside. */
function joined (headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) =>
    [name, Array.isArray(value) && name !== 'set-cookie' ? value.join(', ') : value]))
}
