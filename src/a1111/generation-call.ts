import { setImmediate as nextTurn } from 'node:timers/promises'
import { parsePythonJson } from '../lib/exact-json.ts'
import type { HttpClient } from '../lib/http/client.ts'
import type { PreparedConnection } from '../lib/http/connect.ts'
import { fieldsOf, objectOf } from '../lib/json-values.ts'
import { type Endpoint, limitCall } from './connection.ts'
import {
  answerTooLarge, type CallPhase, connectionFailure, corruptImage, deadlinePassed, isSuccess, serverErrorOf,
  unexpectedStatus
} from './failures.ts'
import { createJsonStreamFilter, type Disposition, type JsonPath } from './json-stream-filter.ts'
import { chunksOf, failureOfAnswer } from './small-calls.ts'
import { type GenerationAnswer, GenerationFailure, type GenerationMode, type ImageSink, routeOf } from './types.ts'

/** Turns the raw JSON text of one base64 string into bytes, piece by piece. */
export interface ImageDecoder {
  /** The bytes that this piece completes; the next call overwrites them. Throws `corrupt_image`. */
  decode (text: Buffer): Buffer
  /** The last bytes. Throws `corrupt_image` if the text must not end here, or is empty. */
  end (): Buffer
}

const backslash = 0x5c
const longestPrefix = 256
const nothing = Buffer.alloc(0)
/** JSON's short escapes that can occur in base64 text; white space is dropped. */
const shortEscapes: Readonly<Record<string, string>> = { '/': '/', n: '', r: '', t: '' }

/**
 * Accepts all forms that servers send: bare base64 or a data URL, JSON escapes, white space, padding or none. Node's
 * own decoder skips invalid characters, so a count of the bytes distinguishes valid text from corrupt.
 */
function createImageDecoder (): ImageDecoder {
  let beforePrefix: Buffer | null = nothing
  let cutEscape: Buffer = nothing
  /** Takes the bytes of every piece: a buffer for each would have V8 collect old garbage again and again. */
  let block: Buffer = nothing
  /** The first characters of a group of four. */
  let carry = ''
  let padding = 0
  let decodedBytes = 0

  /** The text after a `data:…,` prefix; null while the prefix is incomplete. */
  function withoutPrefix (text: Buffer): Buffer | null {
    if (beforePrefix === null) return text
    const head = Buffer.concat([beforePrefix, text])
    beforePrefix = head
    if (head.length < 5) return null
    if (head.toString('latin1', 0, 5) === 'data:') {
      const comma = head.subarray(0, longestPrefix).indexOf(',')
      if (comma === -1 && head.length < longestPrefix) return null
      if (!head.toString('latin1', 0, Math.max(0, comma)).endsWith(';base64')) throw corruptImage('not a base64 data URL')
      beforePrefix = null
      return head.subarray(comma + 1)
    }
    beforePrefix = null
    return head
  }

  function unescape (text: Buffer): string {
    if (cutEscape.length === 0 && !text.includes(backslash)) return text.toString('latin1')
    const whole = Buffer.concat([cutEscape, text]).toString('latin1')
    const cut = /\\(u[\da-f]{0,3})?$/i.exec(whole)
    cutEscape = cut === null ? nothing : Buffer.from(cut[0], 'latin1')
    return whole.slice(0, whole.length - cutEscape.length)
      .replace(/\\(?:u([\da-f]{4})|(.))/gi, (_, code: string | undefined, short: string | undefined) => {
        const meant = code === undefined ? shortEscapes[short ?? ''] : String.fromCharCode(parseInt(code, 16))
        if (meant === undefined) throw corruptImage('an escape that has no place in base64')
        return meant
      })
  }

  function countPadding (text: string): void {
    const signs = text.replace(/\s/g, '')
    padding += signs.length
    if (!/^=*$/.test(signs) || padding > 2) throw corruptImage('text after its padding')
  }

  /** @param begun the first characters of a group of four, which the text continues */
  function decodeText (begun: string, text: string): Buffer {
    if (begun.length + text.length < 4) {
      carry = begun + text
      return nothing
    }
    // The begun group by itself: joining the whole texts would copy them.
    const from = begun === '' ? 0 : 4 - begun.length
    const until = text.length - (text.length - from) % 4
    const size = (begun.length + until) / 4 * 3
    if (block.length < size) block = Buffer.allocUnsafeSlow(size)
    const first = from === 0 ? 0 : block.write(begun + text.slice(0, from), 0, 'base64')
    const written = first + block.write(from === 0 && until === text.length ? text : text.slice(from, until), first, 'base64')
    if (written === size) {
      carry = text.slice(until)
      return block.subarray(0, size)
    }
    const dense = (begun + text).replace(/\s/g, '')
    if (dense.length === begun.length + text.length) throw corruptImage('characters that are not base64')
    return decodeText('', dense)
  }

  function decode (text: Buffer): Buffer {
    const rest = withoutPrefix(text)
    if (rest === null) return nothing
    const plain = unescape(rest)
    if (padding > 0) {
      countPadding(plain)
      return nothing
    }
    const pad = plain.indexOf('=')
    if (pad !== -1) countPadding(plain.slice(pad))
    const bytes = decodeText(carry, pad === -1 ? plain : plain.slice(0, pad))
    decodedBytes += bytes.length
    return bytes
  }

  return {
    decode,
    end () {
      let before: Buffer = nothing
      if (beforePrefix !== null) {
        // too short to distinguish from a prefix so far; no real image has so few bytes, but they can be valid
        const short = beforePrefix
        beforePrefix = null
        before = decode(short)
      }
      const tail = carry.replace(/\s/g, '')
      const last = Buffer.from(tail, 'base64')
      const complete = padding === 0 || (tail.length + padding) % 4 === 0
      if (cutEscape.length > 0 || tail.length === 1 || !complete || last.length !== Math.floor(tail.length * 3 / 4)) {
        throw corruptImage('its base64 text is incomplete')
      }
      if (decodedBytes + last.length === 0) throw corruptImage('it is empty')
      return Buffer.concat([before, last])
    }
  }
}

interface AnswerStreamOptions {
  /** Makes the sink of the image with this index, from 0. */
  readonly createSink: (index: number) => Promise<ImageSink>
  /** Called for an entry of `images` that is not base64, instead of failing the whole answer. */
  readonly onUnreadable?: (index: number, failure: GenerationFailure) => void
  /** Largest answer, images included. */
  readonly maxAnswerBytes: number
  /**
   * Called once, when the answer with the images begins: the server is done with it, however long the transfer takes.
   * A1111 leaves its lock before it writes its answer. Not called for an error.
   */
  readonly onAnswering?: () => void
}

/** `info` and `parameters` together; a thousand images' infotexts stay far below. */
const maxKeptBytes = 8 * 1024 * 1024

/**
 * Reads the answer to a generation as it arrives: decoded images go into their sinks at the sinks' speed; the rest is
 * kept and parsed. Needs a few pieces of 64 KiB, however large the answer is. If anything fails, the sink that is open
 * is aborted; sinks that had ended stay ended, and their creator discards them.
 *
 * @throws GenerationFailure `corrupt_image`, `answer_too_large`, `not_json`, `truncated_answer`, `no_images`,
 *   `error_in_answer`; and errors of a sink or the chunks, unchanged
 */
export async function readGenerationAnswer (
  chunks: AsyncIterable<Buffer>, { createSink, onUnreadable, maxAnswerBytes, onAnswering }: AnswerStreamOptions
): Promise<GenerationAnswer> {
  /** Index of the current image in the list. */
  let index = 0
  const streamFilter = createJsonStreamFilter({
    dispositionOf (path, kind) {
      const disposition = dispositionOf(path, kind)
      if (disposition === 'stream') index = Number(path[1])
      return disposition
    },
    maxKeptBytes
  })
  let answerBytes = 0
  let begun = false
  const streamed = new Set<number>()
  let decoder = createImageDecoder()
  let sink: ImageSink | null = null

  async function write (bytes: Buffer): Promise<void> {
    if (bytes.length > 0) await sink?.write(bytes)
  }

  /** Decodes a piece; null if it is invalid and the caller accepts that. */
  async function decoded (work: () => Buffer): Promise<Buffer | null> {
    try {
      return work()
    } catch (error) {
      if (onUnreadable === undefined || !(error instanceof GenerationFailure)) throw error
      await sink?.abort()
      sink = null
      onUnreadable(index, error)
      return null
    }
  }

  /** White space before an answer only keeps proxies from timing out while the server still generates. */
  async function announce (chunk: Buffer): Promise<void> {
    const first = chunk.find(byte => !isBlank(byte))
    begun = first !== undefined
    if (first !== openingBrace || onAnswering === undefined) return
    onAnswering()
    // The next request goes first, before the images are decoded: the server waits for it.
    await nextTurn()
  }

  try {
    for await (const chunk of chunks) {
      if (!begun) await announce(chunk)
      answerBytes += chunk.length
      if (answerBytes > maxAnswerBytes) throw answerTooLarge(maxAnswerBytes)
      for (const event of streamFilter.scan(chunk)) {
        if (event.kind === 'open') {
          decoder = createImageDecoder()
          streamed.add(index)
          sink = await createSink(index)
        } else if (sink !== null) {
          const bytes = await decoded(() => event.kind === 'text' ? decoder.decode(event.text) : decoder.end())
          if (bytes === null) continue
          await write(bytes)
          if (event.kind === 'text') continue
          await sink.end()
          sink = null
        }
      }
    }
    return toAnswer(streamFilter.finish(), streamed, onUnreadable)
  } catch (error) {
    await sink?.abort().catch(() => {}) // the first error is the one that counts
    throw error
  }
}

/** Long strings of the echoed parameters are ControlNet images that we sent ourselves. */
function dispositionOf (path: JsonPath, kind: 'string' | 'container'): Disposition {
  if (kind === 'container' || path.length < 2) return 'keep'
  return path.length === 2 && path[0] === 'images' && typeof path[1] === 'number' ? 'stream' : 'trim'
}

function toAnswer (
  answer: unknown, streamed: ReadonlySet<number>, onUnreadable: AnswerStreamOptions['onUnreadable']
): GenerationAnswer {
  const { images, info, parameters, ...rest } = fieldsOf(answer)
  const said = streamed.size === 0 ? serverErrorOf(rest) : null
  if (said !== null) {
    throw new GenerationFailure('bad-answer', 'error_in_answer', `The server answered with an error in place of images: ${said.message}.`)
  }
  if (!Array.isArray(images)) {
    throw new GenerationFailure('bad-answer', 'no_images', 'The server\'s answer has no list of images.')
  }
  for (const index of images.keys()) {
    if (streamed.has(index)) continue
    const failure = corruptImage('it is not a string')
    if (onUnreadable === undefined) throw failure
    onUnreadable(index, failure)
  }
  return { imageCount: images.length, info: parseInfo(info), parameters: objectOf(parameters) }
}

/** A1111 sends `info` as JSON within a string; some others as the object itself. */
function parseInfo (info: unknown): GenerationAnswer['info'] {
  if (typeof info !== 'string') return objectOf(info)
  try {
    return objectOf(parsePythonJson(info))
  } catch {
    return null
  }
}

export interface GenerationOptions extends AnswerStreamOptions {
  readonly signal?: AbortSignal
  /** Milliseconds from the call to the end of the answer; `deadline_passed` beyond. */
  readonly deadlineMs: number
  /** Used for the request if it is still open then. */
  readonly over?: PreparedConnection
  /** Called once, when the connection is open and the request is being written: from now on it can run. */
  readonly onSent?: () => void
}

/**
 * Sends one generation and reads its answer. Only the deadline limits the server's silence, since A1111 sends nothing
 * until the images are done.
 *
 * @param body the request as JSON text
 * @param http gives each request a connection of its own: a generation must not be sent twice, so it must not use a
 *   kept connection that the server is just closing
 * @throws GenerationFailure; and errors of a sink, unchanged
 */
export async function callGeneration (
  endpoint: Endpoint, mode: GenerationMode, body: string | Buffer, options: GenerationOptions,
  { http, closed }: { http: Pick<HttpClient, 'request'>, closed: AbortSignal }
): Promise<GenerationAnswer> {
  const limit = limitCall(options.deadlineMs, deadlinePassed, closed, options.signal)
  let phase: CallPhase = 'connecting'
  const toFailure = (error: unknown) => limit.failure(phase) ?? connectionFailure(error, phase)
  try {
    const early = limit.failure(phase)
    if (early !== null) throw early
    const answer = await http.request({
      url: endpoint.urlOf(routeOf(mode)),
      method: 'POST',
      headers: { ...endpoint.headers, 'content-type': 'application/json' },
      body,
      signal: limit.signal,
      ...(options.over === undefined ? {} : { over: options.over })
    }, () => {
      phase = 'waiting'
      options.onSent?.()
    }).catch(error => { throw toFailure(error) })
    phase = 'answering'
    if (!isSuccess(answer.statusCode)) throw await failureOfAnswer(answer, toFailure)
    if (answer.statusCode === 204) {
      answer.body.destroy()
      throw unexpectedStatus(answer.statusCode)
    }
    if (Number(answer.headers['content-length'] ?? 0) > options.maxAnswerBytes) {
      answer.body.destroy()
      throw answerTooLarge(options.maxAnswerBytes)
    }
    return await readGenerationAnswer(chunksOf(answer.body, toFailure), options)
      .catch((error: unknown) => {
        // Such as 202 with an order number: a success, but no generation.
        const isOther = answer.statusCode !== 200 && error instanceof GenerationFailure &&
          error.failureClass === 'bad-answer'
        throw isOther ? unexpectedStatus(answer.statusCode, { cause: error }) : error
      })
  } finally {
    limit.release()
  }
}

const openingBrace = 0x7b

function isBlank (byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
}
