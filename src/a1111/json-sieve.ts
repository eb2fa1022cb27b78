import { parsePythonJson } from '../lib/exact-json.ts'
import { answerTooLarge, htmlAnswer, notJson, truncatedAnswer } from './failures.ts'

/** Keys and indexes that lead to a value, from the top. */
export type JsonPath = ReadonlyArray<string | number>

/**
 * What becomes of a value. `keep`: stays. `trim`: a string that stays unless it is long, else null takes its place.
 * `drop`: null takes its place. `stream`: a string that is handed out in pieces, an empty one takes its place.
 */
export type Fate = 'keep' | 'trim' | 'drop' | 'stream'

/** Pieces of a streamed string: raw JSON text between its quotes, escapes as they came. */
export type SieveEvent =
  | { readonly kind: 'open' }
  | { readonly kind: 'text', readonly text: Buffer }
  | { readonly kind: 'close' }

export interface JsonSieve {
  /** Takes the next bytes; whoever iterates may wait between events, which is the backpressure. */
  scan (bytes: Buffer): Generator<SieveEvent, void>
  /** What was kept, parsed. Throws `truncated_answer` if the text is not at its end, `not_json` if it is no JSON. */
  finish (): unknown
}

export interface SieveOptions {
  /** Asked for every string, array and object that is not within a dropped one. */
  readonly fateOf: (path: JsonPath, kind: 'string' | 'container') => Fate
  /** Most bytes to keep; `answer_too_large` beyond. */
  readonly maxKeptBytes: number
}

interface Frame { readonly isObject: boolean, key: string, index: number, awaitsKey: boolean }
interface OpenString { role: 'key' | 'value', fate: Fate, keptBefore: { parts: number, bytes: number } | null }

const quote = 0x22
const backslash = 0x5c
const pieceBytes = 64 * 1024
/** Strings that run over several pieces are trimmed beyond this. */
const longestTrimmed = 64 * 1024
const deepest = 200

/**
 * Reads JSON of any size piece by piece: keeps what is small, leaves out what nobody needs and streams what is
 * large, so that megabytes of images or LoRA metadata cost neither memory nor one long stop of the event loop.
 * It finds its way by quotes and brackets only; whether the kept rest is JSON is JSON.parse's business.
 */
export function createJsonSieve ({ fateOf, maxKeptBytes }: SieveOptions): JsonSieve {
  const frames: Frame[] = []
  let parts: Buffer[] = []
  let keptBytes = 0
  let started = false
  let open: OpenString | null = null
  let escaped = false
  let key: Buffer[] = []
  let droppedDepth = 0

  function keep (bytes: Buffer): void {
    if (bytes.length === 0) return
    keptBytes += bytes.length
    if (keptBytes > maxKeptBytes) throw answerTooLarge(maxKeptBytes)
    parts.push(Buffer.from(bytes)) // a copy: the piece would hold its whole chunk in memory
  }

  function fateHere (kind: 'string' | 'container'): Fate {
    return fateOf(frames.map(frame => frame.isObject ? frame.key : frame.index), kind)
  }

  function * scanPiece (piece: Buffer): Generator<SieveEvent, void> {
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
      if (droppedDepth > 0) return { role: 'value', fate: 'drop', keptBefore: null }
      if (frame?.isObject === true && frame.awaitsKey) return { role: 'key', fate: 'keep', keptBefore: null }
      const fate = fateHere('string')
      if (fate === 'drop') {
        keepUntil(position)
        keep(nullText)
      }
      if (fate === 'stream') keepUntil(position + 1)
      return { role: 'value', fate, keptBefore: null }
    }

    function trimIfLong (string: OpenString, startsAt: number): void {
      if (string.keptBefore === null) {
        keepUntil(startsAt)
        string.keptBefore = { parts: parts.length, bytes: keptBytes }
        keepFrom = startsAt
      } else if (keptBytes - string.keptBefore.bytes + piece.length > longestTrimmed) {
        parts.length = string.keptBefore.parts
        keptBytes = string.keptBefore.bytes
        keepFrom = null
        keep(nullText)
        string.fate = 'drop'
      }
    }

    function closeString (string: OpenString, end: number): void {
      open = null
      if (string.role === 'key') {
        const frame = frames.at(-1)
        if (frame !== undefined) frame.key = keyText(Buffer.concat(key))
        key = []
      }
      if (droppedDepth > 0) return
      if (string.fate === 'drop') keepFrom = end + 1
      if (string.fate === 'stream') keepFrom = end
    }

    function structure (byte: number): void {
      if (byte === 0x7b || byte === 0x5b) { // { [
        if (droppedDepth > 0) {
          droppedDepth++
        } else if (fateHere('container') === 'drop') {
          keepUntil(position)
          keep(nullText)
          droppedDepth = 1
        } else {
          if (frames.length === deepest) throw notJson()
          frames.push({ isObject: byte === 0x7b, key: '', index: 0, awaitsKey: true })
        }
      } else if (byte === 0x7d || byte === 0x5d) { // } ]
        if (droppedDepth === 0) frames.pop()
        else if (--droppedDepth === 0) keepFrom = position + 1
      } else if (droppedDepth === 0 && (byte === 0x2c || byte === 0x3a)) { // , :
        const frame = frames.at(-1)
        if (frame === undefined) return
        frame.awaitsKey = byte === 0x2c
        if (byte === 0x2c) frame.index++
      }
    }

    while (position < piece.length) {
      let string = open
      if (string === null) {
        const byte = piece.readUInt8(position)
        if (byte !== quote) {
          if (!started) started = beginsJson(byte)
          structure(byte)
          position++
          continue
        }
        started = true
        string = openString()
        open = string
        if (string.fate === 'stream') yield { kind: 'open' }
        position++
      }
      const end = closingQuote(position)
      const text = piece.subarray(position, end === -1 ? piece.length : end)
      if (string.fate === 'stream' && text.length > 0) yield { kind: 'text', text }
      if (string.role === 'key') key.push(Buffer.from(text))
      if (end === -1) {
        if (string.fate === 'trim') trimIfLong(string, Math.max(0, position - 1))
        break
      }
      closeString(string, end)
      if (string.fate === 'stream') yield { kind: 'close' }
      position = end + 1
    }
    keepUntil(piece.length)
  }

  return {
    * scan (bytes) {
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        yield * scanPiece(bytes.subarray(start, start + pieceBytes))
      }
    },
    finish () {
      if (!started || frames.length > 0 || open !== null || droppedDepth > 0) throw truncatedAnswer()
      const text = Buffer.concat(parts).toString('utf8')
      parts = []
      return parseJson(text)
    }
  }
}

const nullText = Buffer.from('null')

/** An answer's JSON, with our own failure. */
export function parseJson (text: string): unknown {
  try {
    return parsePythonJson(text)
  } catch (error) {
    throw notJson({ cause: error })
  }
}

function isTakenOut (string: OpenString | null): boolean {
  return string?.fate === 'stream' || string?.fate === 'drop'
}

/** Whether the byte begins JSON text (false: white space); anything else is refused before more is read. */
function beginsJson (byte: number): boolean {
  if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) return false
  if (byte === 0x3c) throw htmlAnswer(200)
  if (/[[{\-\dtfn]/.test(String.fromCharCode(byte))) return true
  throw notJson()
}

function keyText (bytes: Buffer): string {
  return bytes.includes(backslash) ? String(parseJson(`"${bytes.toString('utf8')}"`)) : bytes.toString('utf8')
}

/** Remembers the last find, so that many short strings do not search the same bytes again and again. */
function createFinder (bytes: Buffer, byte: number): { next (from: number): number } {
  let found = bytes.indexOf(byte)
  return {
    next (from) {
      if (found !== -1 && found < from) found = bytes.indexOf(byte, from)
      return found
    }
  }
}
