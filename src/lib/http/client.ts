import type { IncomingHttpHeaders } from 'node:http'
import { networkInterfaces } from 'node:os'
import { Readable } from 'node:stream'
import { Agent, type Dispatcher, errors } from 'undici'
import { type ConnectPolicy, createConnect } from './connect.ts'
import { type HttpAnswer, type HttpClient, type HttpRequest, Silence } from './exchange.ts'
import { createSingleUseClient } from './single-use.ts'

export { type HttpAnswer, type HttpClient, type HttpRequest, Silence } from './exchange.ts'

/**
 * Sends a request through undici. Not with its `request`: that loses the unread part of a whole answer when its
 * connection ends, and takes an answer without its last chunk for whole.
 */
async function dispatch (dispatcher: Dispatcher, request: HttpRequest): Promise<HttpAnswer> {
  const { url, method = 'GET', headers = {}, body = null, signal, idleMs = 0 } = request
  signal.throwIfAborted()
  let controller: Dispatcher.DispatchController | undefined
  let answer: Readable | undefined
  let received = 0
  let length: number | null = null
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
      // undici takes the next request a turn later: one that follows an answer at once would open another connection.
      process.nextTick(setImmediate, () => { answer?.push(null) })
    }
    abort = () => {
      // undici heeds this only once there is a connection
      controller?.abort(signal.reason)
      fail(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    dispatcher.dispatch({
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
        resolve({ statusCode, headers: joined(headers), body: answer })
      },
      onResponseData (started, chunk) {
        received += chunk.length
        if (answer?.push(chunk) !== true) started.pause()
      },
      onResponseEnd: finish,
      onResponseError (_controller, error) {
        if (answer !== undefined && received === length) finish()
        else fail(isSilence(error) ? new Silence(url, idleMs, { cause: error }) : error)
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
  // An error without a reader must not end the process; a reader gets it.
  body.on('error', () => {})
  return body
}

function isSilence (error: Error): boolean {
  return error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError
}

/** Repeated headers become one text, as a receiver can read it, except cookies. */
function joined (headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) =>
    [name, Array.isArray(value) && name !== 'set-cookie' ? value.join(', ') : value]))
}

/**
 * The one client for all HTTP requests of this service. undici is pinned to 7.25.0: 7.26 to 7.30 end the whole process
 * when a server closes a connection whose reader is behind (nodejs/undici#5360). The way out is undici 8, which runs on
 * Node 22 and newer, as soon as that is our oldest; test/lib/http.test.ts reproduces it.
 */

export interface HttpPolicy extends ConnectPolicy {
  /**
   * Connections to each origin that are kept for the next request, and for how many milliseconds. Absent: each request
   * has a connection of its own, as requests need that must not be sent twice, or lost on a closing connection.
   */
  readonly keep?: { readonly connections: number, readonly idleMs: number }
}

export function createHttpClient (policy: HttpPolicy): HttpClient {
  return policy.keep === undefined ? createSingleUseClient(policy) : createKeepingClient(policy, policy.keep)
}

function createKeepingClient (
  policy: ConnectPolicy, { connections, idleMs }: NonNullable<HttpPolicy['keep']>
): HttpClient {
  const agent = new Agent({
    connections,
    pipelining: 1,
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
    connect: createConnect(policy)
  })
  return {
    request: request => dispatch(agent, request),
    prepare: () => ({ take: () => null, close () {} }),
    close: () => agent.destroy()
  }
}

const exhausted = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'ENETDOWN', 'EAI_MEMORY', 'EAI_SYSTEM'])
/** Errors that the other side can cause as well, unless this machine has no network at all. */
const unreachable = new Set(['ENETUNREACH', 'EAI_AGAIN'])

type Judge = (code: string, syscall: string | undefined) => boolean

/** Why this machine can open no connection to any target: the code of the error; null for any other error. */
export function exhaustionOf (error: unknown): string | null {
  return codeThat(isExhaustion, error)
}

/**
 * Why this machine could not connect, if the fault is its own: the code of the error; null if it is possibly that of
 * the other side.
 * @param hasNetwork whether this machine has an address besides those of loopback
 */
export function ownFaultOf (error: unknown, hasNetwork = hasOutsideAddress): string | null {
  return codeThat((code, syscall) => isExhaustion(code, syscall) || (unreachable.has(code) && !hasNetwork()), error)
}

// getaddrinfo returns EBUSY if it can open no file.
const isExhaustion: Judge = (code, syscall) => exhausted.has(code) || (code === 'EBUSY' && syscall === 'getaddrinfo')

function codeThat (fits: Judge, error: unknown): string | null {
  if (!(error instanceof Error)) return null
  // One for each address that was tried: that ::1 cannot be used here says nothing about 127.0.0.1.
  if (error instanceof AggregateError && error.errors.length > 0) {
    const codes = error.errors.map(one => codeThat(fits, one))
    return codes.find(code => code === null) === undefined ? codes[0] ?? null : null
  }
  const { code, syscall } = error as NodeJS.ErrnoException
  if (typeof code !== 'string') return codeThat(fits, error.cause)
  return fits(code, syscall) ? code : null
}

function hasOutsideAddress (): boolean {
  return Object.values(networkInterfaces()).some(addresses => addresses?.some(({ internal }) => !internal))
}
