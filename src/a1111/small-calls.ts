import { bounded, readBeginning, readWhole } from '../lib/chunks.ts'
import { parsePythonJson, stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from '../lib/http/client.ts'
import { type JsonObject, objectOf } from '../lib/json-values.ts'
import { type Endpoint, limitCall } from './connection.ts'
import {
  answerTooLarge, type CallPhase, connectionFailure, isRateLimit, isSuccess, slowAnswer, statusFailure
} from './failures.ts'
import { createJsonStreamFilter } from './json-stream-filter.ts'
import { GenerationFailure } from './types.ts'

/** Enough for every error of A1111 itself; validation errors can echo a whole request. */
const longestErrorBytes = 256 * 1024

/** A longer answer echoes the request; it is not kept with the job. In characters. */
const longestKeptAnswer = 4096

/** The chunks of an answer's body; `toFailure` converts errors while they arrive. */
export async function * chunksOf (
  body: HttpAnswer['body'], toFailure: (error: unknown) => GenerationFailure
): AsyncGenerator<Buffer, void> {
  try {
    for await (const chunk of body) yield chunk
  } catch (error) {
    throw toFailure(error)
  }
}

/** The failure of an unsuccessful answer; reads no more of it than needed. */
export async function failureOfAnswer (
  answer: HttpAnswer, toFailure: (error: unknown) => GenerationFailure
): Promise<GenerationFailure> {
  const text = String(await readBeginning(chunksOf(answer.body, toFailure), longestErrorBytes))
  const { 'content-type': type = '', 'retry-after': retryAfter } = answer.headers
  const failure = statusFailure(answer.statusCode, String(type), text, retryAfter)
  return isAboutRequest(failure) ? withAnswer(failure, answer.statusCode, text) : failure
}

/** In contrast to failures of a proxy, and of our access to the server, such as credentials. */
function isAboutRequest ({ failureClass, code }: GenerationFailure): boolean {
  return ['request', 'passing', 'out-of-memory'].includes(failureClass) || code === 'cuda_poisoned'
}

function withAnswer (failure: GenerationFailure, status: number, text: string): GenerationFailure {
  const body = text.length > longestKeptAnswer ? null : objectIn(text)
  if (body === null) return failure
  const { failureClass, code, message, cause, mayBeRunning, isFinal, retryAfterMs } = failure
  return new GenerationFailure(failureClass, code, message,
    { cause, mayBeRunning, isFinal, retryAfterMs, answer: { status, body } })
}

function objectIn (text: string): JsonObject | null {
  try {
    return objectOf(parsePythonJson(text))
  } catch {
    return null
  }
}

export interface SmallCallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds for the whole call. */
  readonly timeoutMs?: number
  /** Largest answer, in bytes. */
  readonly maxAnswerBytes?: number
  /** Keys whose arrays and objects are omitted (replaced with null), such as the megabytes of LoRA metadata. */
  readonly leaveOut?: readonly string[]
  /** Reads an answer that is too long to be parsed whole; it must limit the length itself. */
  readonly read?: AnswerReader
}

export type AnswerReader = (chunks: AsyncIterable<Buffer>, maxAnswerBytes: number) => Promise<unknown>

export interface SmallCallLimits {
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
}

export interface SmallCalls {
  /** Throws GenerationFailure; so does `post`. */
  get (path: string, options?: SmallCallOptions): Promise<unknown>
  post (path: string, body: unknown, options?: SmallCallOptions): Promise<unknown>
  /** GET of raw bytes. */
  bytes (path: string, options?: SmallCallOptions): Promise<Buffer>
  close (): Promise<void>
}

type Reader<Value> = (
  chunks: AsyncIterable<Buffer>, maxAnswerBytes: number, leaveOut: readonly string[]
) => Promise<Value>

/** Rate-limited paths of a server, each with the end of the limit by the monotonic clock. */
type Quiet = Map<string, { readonly until: number, readonly failure: GenerationFailure }>

/** Calls that are answered at once: state, lists, interrupt. They share the connections of `http`. */
export function createSmallCalls (
  endpoint: Endpoint, http: HttpClient, limits: SmallCallLimits, closed: AbortSignal
): SmallCalls {
  async function call<Value> (
    request: Omit<HttpRequest, 'signal'>, options: SmallCallOptions, read: Reader<Value>
  ): Promise<Value> {
    const timeoutMs = options.timeoutMs ?? limits.timeoutMs
    const limit = limitCall(timeoutMs, () => slowAnswer(timeoutMs), closed, options.signal)
    // never `waiting`: small calls start no generation that could continue
    let phase: CallPhase = 'connecting'
    const toFailure = (error: unknown) => limit.failure(phase) ?? connectionFailure(error, phase)
    try {
      const answer = await http.request({ ...request, signal: limit.signal }).catch(error => { throw toFailure(error) })
      phase = 'answering'
      if (!isSuccess(answer.statusCode)) throw await failureOfAnswer(answer, toFailure)
      const maxAnswerBytes = options.maxAnswerBytes ?? limits.maxAnswerBytes
      return await read(chunksOf(answer.body, toFailure), maxAnswerBytes, options.leaveOut ?? [])
    } finally {
      limit.release()
    }
  }

  const quiet: Quiet = new Map()

  /** Probes that the server rejected as too many are not sent again before the limit is over. */
  async function gently<Value> (path: string, look: () => Promise<Value>): Promise<Value> {
    const [route = ''] = path.split('?', 1)
    const held = quiet.get(route)
    if (held !== undefined && performance.now() < held.until) throw held.failure
    quiet.delete(route)
    return await look().catch((error: unknown) => {
      if (isRateLimit(error)) quiet.set(route, { until: performance.now() + error.retryAfterMs, failure: error })
      throw error
    })
  }

  const reading = (path: string) => ({ url: endpoint.urlOf(path), headers: endpoint.headers })

  return {
    get: (path, options = {}) => gently(path, () => call(reading(path), options, options.read ?? readValue)),
    bytes: (path, options = {}) => call(reading(path), options,
      async (chunks, most) => await readWhole(chunks, most, () => answerTooLarge(most))),
    post: (path, body, options = {}) => call({
      method: 'POST',
      url: endpoint.urlOf(path),
      headers: { ...endpoint.headers, 'content-type': 'application/json' },
      body: stringifyKeepingFloats(body)
    }, options, readOutcome),
    close: http.close
  }
}

/** Calls that only perform an action can have empty answers. */
async function readOutcome (...[chunks, most, leaveOut]: Parameters<Reader<unknown>>): Promise<unknown> {
  let isEmpty = true
  async function * noted (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      isEmpty &&= chunk.every(byte => byte <= 0x20)
      yield chunk
    }
  }
  return await readValue(noted(), most, leaveOut).catch((error: unknown) => {
    // A broken connection has a cause.
    const isWhole = error instanceof GenerationFailure && error.code === 'truncated_answer' && error.cause === undefined
    if (isEmpty && isWhole) return null
    throw error
  })
}

const [openingBrace, openingBracket] = [0x7b, 0x5b]
/** Objects and lists up to this length are parsed whole, without being scanned, in bytes. */
const shortAnswer = 64 * 1024
/** Levels of a short answer beyond which it is scanned, as it is possibly too deep. */
const usualDepth = 20

async function readValue (
  chunks: AsyncIterable<Buffer>, maxAnswerBytes: number, leaveOut: readonly string[]
): Promise<unknown> {
  const streamFilter = createJsonStreamFilter({
    maxKeptBytes: maxAnswerBytes,
    dispositionOf: (path, kind) => kind === 'container' && leaveOut.includes(String(path.at(-1))) ? 'drop' : 'keep'
  })
  // nothing is streamed, so there are no events
  const scan = (chunk: Buffer) => { Array.from(streamFilter.scan(chunk)) }
  let beginning: Buffer[] | null = leaveOut.length === 0 ? [] : null
  let bytes = 0
  for await (const chunk of bounded(chunks, maxAnswerBytes, () => answerTooLarge(maxAnswerBytes))) {
    const canBeParsed = bytes > 0 || [openingBrace, openingBracket].includes(chunk[0] ?? 0)
    bytes += chunk.length
    if (beginning !== null && canBeParsed && bytes <= shortAnswer) {
      beginning.push(chunk)
      continue
    }
    beginning?.forEach(scan)
    beginning = null
    scan(chunk)
  }
  if (beginning === null) return streamFilter.finish()
  const value = parsedWhole(beginning)
  if (value !== undefined) return value
  // The scan finds out why not.
  beginning.forEach(scan)
  return streamFilter.finish()
}

/** Undefined if it is no JSON, or deeper than usual. */
function parsedWhole (parts: readonly Buffer[]): unknown {
  try {
    const value = parsePythonJson(String(Buffer.concat(parts)))
    return isDeeperThan(value, usualDepth) ? undefined : value
  } catch {
    return undefined
  }
}

function isDeeperThan (value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some(inner => isDeeperThan(inner, levels - 1))
}
