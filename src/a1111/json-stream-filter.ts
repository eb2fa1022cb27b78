import { parsePythonJson } from '../lib/exact-json.ts'
import { answerTooLarge, htmlAnswer, notJson, truncatedAnswer } from './failures.ts'

/** Keys and indexes that lead to a value, from the top. */
export type JsonPath = ReadonlyArray<string | number>

/**
 * How to treat a value. `keep`: keeps it. `trim`: keeps a string unless it is long; `longDisposition` decides then.
 * `drop`: replaces it with null. `stream`: returns it in pieces; a string is replaced by the text put in its place, a
 * container by null. `take`: returns the kept part of a container when it ends, and replaces it with null.
 */
export type Disposition = 'keep' | 'trim' | 'drop' | 'stream' | 'take'

/**
 * Raw pieces of a streamed value: of a string the text between its quotes, of a container all of its text. `value`: a
 * taken container, with the values kept in it.
 */
export type StreamFilterEvent =
  | { readonly kind: 'open' }
  | { readonly kind: 'text', readonly text: Buffer }
  | { readonly kind: 'close' }
  | { readonly kind: 'value', readonly text: Buffer }

export interface JsonStreamFilter {
  /** Takes the next bytes; the consumer can wait between events, which is the backpressure. */
  scan (bytes: Buffer): Generator<StreamFilterEvent, void>
  /** Keeps this in place of the streamed string that has just closed: JSON text for between its quotes. */
  put (text: Buffer): void
  keptBytes (): number
  /** The kept text. */
  kept (): Buffer
  /** The kept text, parsed. Throws `truncated_answer` if the text is not at its end, `not_json` if it is no JSON. */
  finish (): unknown
}

/** Errors for texts that must not be read further. */
export interface StreamFilterRefusals {
  tooLarge (maxKeptBytes: number): Error
  /** `position`: of the bracket that opens one level too many, in bytes from 0. */
  tooDeep (position: number): Error
  /** Null lets the byte pass as the beginning of a text. */
  beginning (byte: number): Error | null
}

export interface StreamFilterOptions {
  /** Called for every string, array and object that is not within a dropped or streamed one. */
  readonly dispositionOf: (path: JsonPath, kind: 'string' | 'container') => Disposition
  /** Most bytes to keep at a time; `answer_too_large` beyond. */
  readonly maxKeptBytes: number
  /**
   * Called for a string of disposition `trim` that is longer than 64 KiB; without this function it is dropped. `head`:
   * its first bytes.
   */
  readonly longDisposition?: (path: JsonPath, head: Buffer) => Exclude<Disposition, 'trim' | 'take'>
  /** The refusals for answers by default. */
  readonly refusals?: StreamFilterRefusals
  /** Maximum levels of nesting; 200 by default. */
  readonly depth?: number
}

const refusalsOfAnswers: StreamFilterRefusals = {
  tooLarge: answerTooLarge,
  tooDeep: () => notJson(),
  beginning: byte => byte === 0x3c ? htmlAnswer(200) : /[[{\-\dtfn]/.test(String.fromCharCode(byte)) ? null : notJson()
}

interface Frame { readonly isObject: boolean, key: string, index: number, awaitsKey: boolean }
interface OpenString {
  readonly role: 'key' | 'value'
  disposition: Disposition
  /** Bytes between its quotes so far. */
  length: number
  /** The text kept before it, once it spans several pieces. */
  keptBefore: { readonly parts: number, readonly bytes: number } | null
}

const quote = 0x22
const backslash = 0x5c
const pieceBytes = 64 * 1024
/** Strings are long beyond this; no shorter than a piece, so that a string within one piece is never long. */
export const longestTrimmed = pieceBytes
const headBytes = 512
const deepestAnswer = 200

/**
 * Reads JSON of any size piece by piece: keeps small values, drops unneeded ones and streams large ones, so that
 * megabytes of images or LoRA metadata neither take memory nor block the event loop. It only looks at quotes and
 * brackets; JSON.parse validates the kept rest.
 */
export function createJsonStreamFilter (options: StreamFilterOptions): JsonStreamFilter {
  const { dispositionOf, maxKeptBytes, longDisposition = () => 'drop', refusals = refusalsOfAnswers, depth = deepestAnswer } = options
  const frames: Frame[] = []
  let parts: Buffer[] = []
  let keptBytes = 0
  let started = false
  let open: OpenString | null = null
  let escaped = false
  let key: Buffer[] = []
  /** Levels of nesting within a container that is dropped or streamed, itself counted. */
  let droppedDepth = 0
  let droppedString = false
  let droppedEscape = false
  let streamsContainer = false
  /** The container that is taken, and the text kept before it. */
  let taken: { readonly level: number, readonly parts: number, readonly bytes: number } | null = null
  /** Bytes of all pieces before this one. */
  let scanned = 0

  function keep (bytes: Buffer): void {
    if (bytes.length === 0) return
    keptBytes += bytes.length
    if (keptBytes > maxKeptBytes) throw refusals.tooLarge(maxKeptBytes)
    parts.push(Buffer.from(bytes)) // a copy: the piece would hold its whole chunk in memory
  }

  const pathHere = (): JsonPath => frames.map(frame => frame.isObject ? frame.key : frame.index)
  const dispositionHere = (kind: 'string' | 'container'): Disposition => dispositionOf(pathHere(), kind)

  /** Skips the inside of a container that is dropped or streamed; returns where it ends, or the end of the piece. */
  function passOver (piece: Buffer, from: number): number {
    for (let at = from; at < piece.length; at++) {
      const byte = piece[at]
      if (droppedString) {
        if (droppedEscape) droppedEscape = false
        else if (byte === backslash) droppedEscape = true
        else if (byte === quote) droppedString = false
      } else if (byte === quote) {
        droppedString = true
      } else if (byte === 0x7b || byte === 0x5b) { // { [
        droppedDepth++
      } else if (byte === 0x7d || byte === 0x5d) { // } ]
        droppedDepth--
        if (droppedDepth === 0) return at + 1
      }
    }
    return piece.length
  }

  function * scanPiece (piece: Buffer): Generator<StreamFilterEvent, void> {
    const quotes = createFinder(piece, quote)
    const backslashes = createFinder(piece, backslash)
    let position = 0
    // bytes from here on are kept, unless it is null: then something is dropped or streamed
    let keepFrom: number | null = droppedDepth > 0 || isTakenOut(open) ? null : 0

    function keepUntil (end: number): void {
      if (keepFrom !== null) keep(piece.subarray(keepFrom, end))
      keepFrom = null
    }

    function closingQuote (from: number): number {
      let at = escaped ? from + 1 : from
      escaped = false
      for (;;) {
        const end = quotes.next(at)
        const escape = backslashes.next(at)
        if (escape === -1 || (end !== -1 && end < escape)) return end
        if (escape + 1 === piece.length) {
          escaped = true
          return -1
        }
        at = escape + 2
      }
    }

    function openString (): OpenString {
      const frame = frames.at(-1)
      if (frame?.isObject === true && frame.awaitsKey) return { ...newString, role: 'key' }
      const disposition = dispositionHere('string')
      if (disposition === 'drop') {
        keepUntil(position)
        keep(nullText)
      }
      if (disposition === 'stream') keepUntil(position + 1)
      return { ...newString, disposition }
    }

    /** Remembers where a string begins that can turn out to be long. */
    function keepBeginning (string: OpenString, quoteAt: number): void {
      if (string.keptBefore !== null) return
      keepUntil(quoteAt)
      string.keptBefore = { parts: parts.length, bytes: keptBytes }
      keepFrom = quoteAt
    }

    /** The part of a streamed string in earlier pieces; null for any other disposition. */
    function takeOut (string: OpenString, text: Buffer): Buffer | null {
      const before = string.keptBefore ?? { parts: parts.length, bytes: keptBytes }
      const begun = Buffer.concat(parts.slice(before.parts)).subarray(1)
      const head = Buffer.concat([begun.subarray(0, headBytes), text.subarray(0, headBytes)]).subarray(0, headBytes)
      string.disposition = longDisposition(pathHere(), head)
      if (string.disposition === 'keep') return null
      parts.length = before.parts
      keptBytes = before.bytes
      keepFrom = null
      keep(string.disposition === 'stream' ? quoteText : nullText)
      return string.disposition === 'stream' ? begun : null
    }

    function closeString (string: OpenString, end: number): void {
      open = null
      if (string.role === 'key') {
        const frame = frames.at(-1)
        if (frame !== undefined) frame.key = keyText(Buffer.concat(key))
        key = []
      }
      if (string.disposition === 'drop') keepFrom = end + 1
      if (string.disposition === 'stream') keepFrom = end
    }

    function openContainer (byte: number): void {
      const disposition = dispositionHere('container')
      if (disposition === 'drop' || disposition === 'stream') {
        keepUntil(position)
        keep(nullText)
        droppedDepth = 1
        streamsContainer = disposition === 'stream'
        return
      }
      if (disposition === 'take' && taken === null) {
        keepUntil(position)
        keep(nullText)
        taken = { level: frames.length, parts: parts.length, bytes: keptBytes }
        keepFrom = position
      }
      if (frames.length === depth) throw refusals.tooDeep(scanned + position)
      frames.push({ isObject: byte === 0x7b, key: '', index: 0, awaitsKey: true })
    }

    /** The kept text of the container that ends here, if it is the taken one. */
    function closeContainer (): Buffer | null {
      frames.pop()
      if (taken === null || frames.length > taken.level) return null
      keepUntil(position + 1)
      const text = Buffer.concat(parts.splice(taken.parts))
      keptBytes = taken.bytes
      taken = null
      keepFrom = position + 1
      return text
    }

    function nextValue (byte: number): void {
      const frame = frames.at(-1)
      if (frame === undefined) return
      frame.awaitsKey = byte === 0x2c
      if (byte === 0x2c) frame.index++
    }

    while (position < piece.length) {
      if (droppedDepth > 0) {
        const from = position
        position = passOver(piece, from)
        if (streamsContainer) yield { kind: 'text', text: piece.subarray(from, position) }
        if (droppedDepth > 0) continue
        if (streamsContainer) yield { kind: 'close' }
        streamsContainer = false
        keepFrom = position
        continue
      }
      let string = open
      if (string === null) {
        const byte = piece.readUInt8(position)
        if (byte !== quote) {
          if (!started) started = beginsJson(byte, refusals)
          if (byte === 0x7b || byte === 0x5b) { // { [
            openContainer(byte)
            if (streamsContainer) {
              yield { kind: 'open' }
              yield { kind: 'text', text: piece.subarray(position, position + 1) }
            }
          } else if (byte === 0x7d || byte === 0x5d) { // } ]
            const text = closeContainer()
            if (text !== null) yield { kind: 'value', text }
          } else if (byte === 0x2c || byte === 0x3a) nextValue(byte) // , :
          position++
          continue
        }
        started = true
        string = openString()
        open = string
        if (string.disposition === 'stream') yield { kind: 'open' }
        position++
      }
      const end = closingQuote(position)
      const text = piece.subarray(position, end === -1 ? piece.length : end)
      string.length += text.length
      if (string.disposition === 'trim') {
        if (string.length > longestTrimmed) {
          const begun = takeOut(string, text)
          if (begun !== null) {
            yield { kind: 'open' }
            yield { kind: 'text', text: begun }
          }
        } else if (end === -1) keepBeginning(string, Math.max(0, position - 1))
      }
      if (string.disposition === 'stream' && text.length > 0) yield { kind: 'text', text }
      if (string.role === 'key') key.push(Buffer.from(text))
      if (end === -1) break
      closeString(string, end)
      if (string.disposition === 'stream') yield { kind: 'close' }
      position = end + 1
    }
    keepUntil(piece.length)
    scanned += piece.length
  }

  return {
    * scan (bytes) {
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        yield * scanPiece(bytes.subarray(start, start + pieceBytes))
      }
    },
    put: keep,
    keptBytes: () => keptBytes,
    kept: () => Buffer.concat(parts),
    finish () {
      if (!started || frames.length > 0 || open !== null || droppedDepth > 0) throw truncatedAnswer()
      const text = Buffer.concat(parts).toString('utf8')
      parts = []
      return parseJson(text)
    }
  }
}

const newString: OpenString = { role: 'value', disposition: 'keep', length: 0, keptBefore: null }
const nullText = Buffer.from('null')
const quoteText = Buffer.from('"')

/** An answer's JSON, with our own failure. */
export function parseJson (text: string): unknown {
  try {
    return parsePythonJson(text)
  } catch (error) {
    throw notJson({ cause: error })
  }
}

function isTakenOut (string: OpenString | null): boolean {
  return string?.disposition === 'stream' || string?.disposition === 'drop'
}

/** Whether the byte begins JSON text (false: white space); anything else is refused before more is read. */
function beginsJson (byte: number, refusals: StreamFilterRefusals): boolean {
  if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) return false
  const refusal = refusals.beginning(byte)
  if (refusal !== null) throw refusal
  return true
}

function keyText (bytes: Buffer): string {
  return bytes.includes(backslash) ? String(parseJson(`"${bytes.toString('utf8')}"`)) : bytes.toString('utf8')
}

/** Remembers the last match, so that many short strings do not search the same bytes repeatedly. */
function createFinder (bytes: Buffer, byte: number): { next (from: number): number } {
  let found = bytes.indexOf(byte)
  return {
    next (from) {
      if (found !== -1 && found < from) found = bytes.indexOf(byte, from)
      return found
    }
  }
}
