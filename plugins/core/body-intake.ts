import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { getHeapStatistics } from 'node:v8'
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import fp from 'fastify-plugin'
import { quotaOwner } from '../../src/access/principal.ts'
import type { Config } from '../../src/config/settings.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { bodyLimitMib } from '../../src/media/images.ts'
import type { FormPart } from '../../src/media/uploads.ts'

/** Limits of bytes in flight, of all clients together and of each. */
interface ByteBudgetLimits {
  readonly total: number
  readonly perClient: number
}

/** Bytes that one piece of work has in flight. */
interface ByteShare {
  /** @throws ServiceError `bytes_in_flight_limit` if the client has too many, `server_busy` if all have */
  grow (bytes: number): void
  /** Releases all but so many. */
  shrinkTo (bytes: number): void
  release (): void
}

export interface ByteBudget {
  /** An empty share. @param owner the unit of the single limit, such as an access key */
  open (owner: string): ByteShare
  /** Bytes in flight. */
  used (): number
}

/** Work this small is admitted although large work takes up the budget: cancelling a job must not wait for uploads. */
const smallBytes = 65_536
/** Small work can exceed the budget by this factor. */
const roomForSmall = 1.25
/** Seconds after which a refused client can try again; most bodies have arrived by then. */
const retryAfter = 2

export function createByteBudget ({ total, perClient }: ByteBudgetLimits): ByteBudget {
  const owners = new Map<string, number>()
  let used = 0

  function add (owner: string, bytes: number): void {
    const left = (owners.get(owner) ?? 0) + bytes
    if (left > 0) owners.set(owner, left)
    else owners.delete(owner)
    used += bytes
  }

  return {
    used: () => used,
    open (owner) {
      let own = 0
      function shrinkTo (bytes: number): void {
        const spare = Math.max(0, own - bytes)
        own -= spare
        add(owner, -spare)
      }
      return {
        grow (bytes) {
          const room = own + bytes <= smallBytes ? roomForSmall : 1
          if ((owners.get(owner) ?? 0) + bytes > perClient * room) {
            throw new ServiceError('bytes_in_flight_limit', 'The requests that you are sending have more than ' +
              `${mebibytes(perClient)} together (BODIES_PER_KEY_MIB); send the next when one of them is answered.`,
            { limit: perClient, retry_after: retryAfter })
          }
          if (used + bytes > total * room) {
            throw new ServiceError('server_busy', `The requests that are arriving have more than ${mebibytes(total)} together ` +
              '(BODIES_MAX_MIB); please try again.', { limit: total, retry_after: retryAfter })
          }
          own += bytes
          add(owner, bytes)
        },
        shrinkTo,
        release: () => { shrinkTo(0) }
      }
    }
  }
}

function mebibytes (bytes: number): string {
  return `${Math.round(bytes / 104_857.6) / 10} MiB`
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null if the request has no body, or none that is read. */
    intake: BodyIntake | null
  }
}

/** The body of one request on its way in. */
export interface BodyIntake {
  /**
   * Its bytes.
   * @throws ServiceError `request_timeout`, `bytes_in_flight_limit`, `server_busy`, `payload_too_large`
   */
  chunks (payload: Readable): AsyncIterable<Buffer>
  /** All of them, if the body has arrived: most short ones come with the headers. */
  arrived (payload: Readable): Buffer | null
  /** The parts of a form within the same limits; their parser reads the request by itself. */
  parts (parts: AsyncIterable<FormPart>): AsyncIterable<FormPart>
  /** The body has arrived; so many bytes of it are still in memory. */
  settle (bytes: number): void
}

type BudgetConfig = Pick<Config, 'BODY_LIMIT_MIB' | 'BODIES_MAX_MIB' | 'BODIES_PER_KEY_MIB'>

export interface BodyIntakeOptions {
  readonly config: BudgetConfig & Pick<Config, 'BODY_STALL_SECONDS' | 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS'>
}

const mebibyte = 1_048_576
/** A form is larger than its files by its fields and boundaries. */
const formSurplus = 8 * mebibyte
/** Bytes that a body must bring in each BODY_STALL_SECONDS: 0.8 kB/s, which any connection can. */
const minBytes = 16_384
/** A client that is answered before it has sent everything can go on sending at this rate, and so read the answer. */
const lingering = { everyMs: 1000, minBytes: 65_536, maxBeats: 30 } as const

/**
 * Holds the bodies of requests to a budget, in bytes and in time: refuses a request that would exceed it before reading
 * its body, and closes a connection with an unwanted body without waiting for it.
 */
export default fp<BodyIntakeOptions>(async (app, { config }) => {
  const BODY_LIMIT_MIB = bodyLimitMib(config)
  const bodyLimit = BODY_LIMIT_MIB * mebibyte
  const stallMs = config.BODY_STALL_SECONDS * 1000
  const budget = createByteBudget(bodyBudget({ ...config, BODY_LIMIT_MIB }, getHeapStatistics().heap_size_limit))
  const awaitingContinue = new WeakSet<IncomingMessage>()
  app.decorateRequest('intake', null)

  // A client that asks before sending a large body gets the answer when it is admitted, and not before.
  app.server.on('checkContinue', (request, response) => {
    awaitingContinue.add(request)
    app.server.emit('request', request, response)
  })

  app.addHook('preParsing', (request, reply, payload, done) => {
    done(null, admitted(request, reply, payload))
  })

  /** @throws ServiceError as `chunks` of the intake */
  function admitted (request: FastifyRequest, reply: FastifyReply, payload: RequestPayload): RequestPayload {
    const announced = announcedLength(request)
    if (announced === null) return payload
    if (request.is404) return withoutBody(announced)
    const isForm = /^multipart\//i.test(request.headers['content-type'] ?? '')
    const limit = isForm ? bodyLimit + formSurplus : bodyLimit
    if (announced > limit) throw bodyTooLarge(limit)
    const share = budget.open(quotaOwner(request))
    const take = (bytes: number) => {
      try {
        share.grow(bytes)
      } catch (error) {
        if (error instanceof ServiceError) reply.header('retry-after', String(error.details.retry_after))
        throw error
      }
    }
    take(announced)
    reply.raw.once('close', () => { share.release() })
    if (awaitingContinue.delete(request.raw)) reply.raw.writeContinue()
    request.intake = createIntake(request, { share, take, announced, limit, stallMs })
    return payload
  }

  app.addHook('onSend', (request, reply, payload, done) => {
    if (announcedLength(request) !== null && !request.raw.complete) closeAfterAnswer(request, reply)
    done(null, payload)
  })
}, { name: 'body-intake', dependencies: ['access'] })

/** Budgets in bytes; a body of BODY_LIMIT_MIB fits in any case. */
export function bodyBudget (config: BudgetConfig, heapLimit: number): ByteBudgetLimits {
  const least = config.BODY_LIMIT_MIB * mebibyte + formSurplus
  const total = Math.max(least, config.BODIES_MAX_MIB * mebibyte || heapLimit / 4)
  return { total, perClient: Math.min(total, Math.max(least, config.BODIES_PER_KEY_MIB * mebibyte || total / 2)) }
}

/** Bytes of the body by its header, 0 if it comes in chunks; null for none. */
function announcedLength ({ headers }: FastifyRequest): number | null {
  if (headers['transfer-encoding'] !== undefined) return 0
  const length = Number(headers['content-length'] ?? 0)
  return length > 0 ? length : null
}

/** Replaces a body that is not read. */
function withoutBody (length: number): Readable {
  return Object.assign(Readable.from([]), { receivedEncodedLength: length })
}

interface IntakeOptions {
  readonly share: ByteShare
  readonly take: (bytes: number) => void
  readonly announced: number
  readonly limit: number
  readonly stallMs: number
}

function createIntake (request: FastifyRequest, { share, take, announced, limit, stallMs }: IntakeOptions): BodyIntake {
  const { raw } = request
  let received = 0

  /** Until the body is complete; stops its reader if it stalls. */
  function watch (ended: AbortController): () => void {
    if (raw.complete) return () => {}
    let seen = raw.socket.bytesRead
    const timer = setInterval(() => {
      const isWaiting = raw.readableLength === 0 && !raw.complete // else it waits for us
      if (isWaiting && raw.socket.bytesRead - seen < minBytes) ended.abort(stalled(stallMs))
      seen = raw.socket.bytesRead
    }, stallMs)
    timer.unref()
    return () => { clearInterval(timer) }
  }

  function count (bytes: number): void {
    received += bytes
    if (received > limit) throw bodyTooLarge(limit)
    if (announced === 0) take(bytes)
  }

  return {
    settle: share.shrinkTo,
    arrived (payload) {
      if (payload !== raw || announced === 0 || raw.readableLength !== announced) return null
      const bytes: unknown = raw.read()
      // It ends although nothing reads on.
      raw.resume()
      return Buffer.isBuffer(bytes) ? bytes : null
    },
    async * chunks (payload) {
      const ended = new AbortController()
      const stop = watch(ended)
      try {
        for await (const chunk of piecesOf(payload, ended.signal)) {
          count(chunk.length)
          yield chunk
        }
      } finally {
        stop()
      }
    },
    async * parts (parts) {
      const ended = new AbortController()
      const stop = watch(ended)
      const onData = (chunk: Buffer) => {
        try {
          count(chunk.length)
        } catch (error) {
          ended.abort(error)
        }
      }
      raw.on('data', onData)
      try {
        for await (const part of untilAborted(parts, ended.signal)) {
          yield part.type === 'field' ? part : { ...part, file: untilAborted(part.file, ended.signal) }
        }
      } finally {
        raw.off('data', onData)
        stop()
      }
    }
  }
}

/**
 * The chunks of a stream, without ever destroying it: that would end the connection before the answer is sent.
 * @throws ServiceError `malformed_request` if it breaks off; the reason of the signal
 */
export async function * piecesOf (stream: Readable, signal?: AbortSignal): AsyncGenerator<Buffer> {
  let wake = () => {}
  let failure: ServiceError | null = null
  const onError = (cause: unknown) => {
    failure = brokenOff(cause)
    wake()
  }
  const onWake = () => { wake() }
  const events = ['readable', 'end', 'close'] as const
  for (const event of events) stream.on(event, onWake)
  stream.on('error', onError)
  signal?.addEventListener('abort', onWake)
  try {
    for (;;) {
      signal?.throwIfAborted()
      if (failure !== null) throw failure
      const chunk = stream.read() as Buffer | string | null
      if (chunk !== null) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
      else if (stream.readableEnded) return
      else if (stream.destroyed) throw brokenOff()
      else await new Promise<void>(resolve => { wake = resolve })
    }
  } finally {
    for (const event of events) stream.off(event, onWake)
    stream.off('error', onError)
    signal?.removeEventListener('abort', onWake)
  }
}

async function * untilAborted<Item> (items: AsyncIterable<Item>, signal: AbortSignal): AsyncGenerator<Item> {
  const iterator = items[Symbol.asyncIterator]()
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      const reason: unknown = signal.reason
      reject(reason instanceof Error ? reason : new Error(String(reason)))
    }, { once: true })
  })
  aborted.catch(() => {})
  for (;;) {
    const next = await Promise.race([iterator.next(), aborted])
    if (next.done === true) return
    yield next.value
  }
}

/**
 * Node would wait for the rest of the body. Closing a connection with unread bytes resets it, and loses its answer; so
 * our side ends, and discards further bytes while they come fast.
 */
function closeAfterAnswer ({ raw }: FastifyRequest, reply: FastifyReply): void {
  const { socket } = raw
  if (!(socket instanceof Socket)) return
  reply.header('connection', 'close')
  socket.destroySoon = () => {
    socket.end()
    raw.resume()
    let beats = 0
    let seen = socket.bytesRead
    const timer = setInterval(() => {
      if (socket.bytesRead - seen < lingering.minBytes || ++beats === lingering.maxBeats) socket.destroy()
      seen = socket.bytesRead
    }, lingering.everyMs)
    socket.once('close', () => { clearInterval(timer) })
  }
}

function brokenOff (cause?: unknown): ServiceError {
  return new ServiceError('malformed_request', 'The body broke off before its end.', {}, { cause })
}

export function bodyTooLarge (limit: number): ServiceError {
  return new ServiceError('payload_too_large', `The body can have at most ${Math.floor(limit / mebibyte)} MiB (BODY_LIMIT_MIB).`)
}

function stalled (stallMs: number): ServiceError {
  return new ServiceError('request_timeout',
    `The body brought less than ${minBytes} bytes in ${stallMs / 1000} s and is not waited for any longer.`)
}
