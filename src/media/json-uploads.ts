import { randomBytes } from 'node:crypto'
import { isImagePlace, looksLikeImage } from '../a1111/images.ts'
import { createJsonStreamFilter, type JsonPath, type StreamFilterRefusals } from '../a1111/json-stream-filter.ts'
import { ServiceError } from '../lib/errors.ts'
import { type PartedJson, requestBounds, tooDeep } from '../lib/json.ts'
import type { UploadedImage } from '../lib/media-types.ts'
import { createBase64Decoder } from './base64.ts'
import { type ImageLimits, notBase64, withoutDataUrlHead } from './images.ts'
import type { MediaStore } from './store.ts'
import { openUpload, type UploadSink, type UploadTexts } from './uploads.ts'

export interface SiftOptions {
  readonly store: MediaStore
  readonly texts: UploadTexts
  readonly limits: ImageLimits
  /** Limit of the bytes beside the images. */
  readonly keptBytes: number
}

/** An extracted string. */
interface Gap {
  /** Position of its replacement, and its length, in the remaining bytes. */
  readonly at: number
  readonly placed: number
  /** Original length of the string. */
  length: number
  /** Bytes that are invalid in a JSON string, and their position in it. */
  fault: { readonly at: number, readonly text: string } | null
}

const backslash = 0x5c
/** JSON has none inside strings. */
const control = /[^\P{Cc}\x7f-\x9f]/u
/** The longest escape, `\u0000`, without its last character. */
const longestCutEscape = 5
/** Enough for the head of a data URL. */
const headLength = 512

/**
 * Reads JSON as it arrives, and replaces each large image in it by an uploaded one. Strings of more than 64 KiB that
 * begin like images go decoded into the store. Where no image belongs, the text of the upload takes its place.
 * @throws ServiceError `invalid_image`, `payload_too_large`, `storage_full`, `malformed_request`; errors of the chunks
 */
export async function siftJson (chunks: AsyncIterable<Buffer>, options: SiftOptions): Promise<PartedJson> {
  const gaps: Gap[] = []
  const parts = new Map<string, UploadedImage>()
  let path: JsonPath = []
  let gap: Gap = { at: 0, placed: 0, length: 0, fault: null }
  let image: OpenImage | null = null
  const streamFilter = createJsonStreamFilter({
    dispositionOf: (_path, kind) => kind === 'string' ? 'trim' : 'keep',
    longDisposition (found, head) {
      path = found
      return looksLikeImage(head.toString('latin1')) ? 'stream' : 'keep'
    },
    maxKeptBytes: options.keptBytes,
    refusals,
    depth: requestBounds.depth
  })

  try {
    for await (const chunk of chunks) {
      for (const event of streamFilter.scan(chunk)) {
        if (event.kind === 'open') {
          gap = { at: streamFilter.keptBytes(), placed: 0, length: 0, fault: null }
          gaps.push(gap)
          image = await openImage(path.join('.'), options)
        } else if (event.kind === 'text') {
          const at = gap.length
          gap.length += event.text.length
          if (gap.fault !== null) continue
          const fault = await image?.write(event.text) ?? null
          if (fault !== null) gap.fault = { ...fault, at: at + fault.at }
        } else {
          const text = Buffer.from(gap.fault === null && image !== null ? placeFor(await image.end()) : '')
          if (gap.fault !== null) await image?.abort()
          image = null
          streamFilter.put(text)
          gaps[gaps.length - 1] = { ...gap, placed: text.length }
        }
      }
    }
  } finally {
    await image?.abort().catch(() => {}) // the first error is the one that counts
  }
  const bytes = streamFilter.kept()
  return { bytes, whole: () => refilled(bytes, gaps), broken: gaps.some(({ fault }) => fault !== null), parts }

  /** JSON text in place of the image: its own, or one that only this body knows. */
  function placeFor (uploaded: UploadedImage): string {
    if (!isImagePlace(path)) return String(uploaded)
    const place = `upload ${randomBytes(16).toString('hex')}`
    parts.set(place, uploaded)
    return place
  }
}

const refusals: StreamFilterRefusals = {
  tooLarge: textTooLarge,
  tooDeep: position => tooDeep('The body', position),
  beginning: () => null
}

/** Limit of the JSON without its images, which must fit into memory several times over. */
export function textTooLarge (most: number): ServiceError {
  return new ServiceError('payload_too_large', `The body can have at most ${Math.floor(most / 104_857.6) / 10} MiB beside its ` +
    'pictures; send less at once.')
}

interface OpenImage extends Pick<UploadSink, 'abort'> {
  /** Takes the next JSON text; returns bytes that are invalid in a JSON string, and their position in the text. */
  write (text: Buffer): Promise<{ at: number, text: string } | null>
  end (): Promise<UploadedImage>
}

async function openImage (field: string, options: SiftOptions): Promise<OpenImage> {
  const sink = await openUpload(field, options)
  const decoder = createBase64Decoder()
  let head: string | null = ''
  let cut: Buffer = Buffer.alloc(0)

  async function take (text: string): Promise<void> {
    let base64 = text
    if (head !== null) {
      head = (head + text).trimStart()
      if (head.length < headLength) return
      base64 = withoutDataUrlHead(head, field)
      head = null
    }
    let bytes: Buffer
    try {
      bytes = decoder.write(base64)
    } catch (error) {
      throw notBase64(error, field)
    }
    await sink.write(bytes)
  }

  return {
    abort: sink.abort,
    async write (piece) {
      const text = cut.length === 0 ? piece : Buffer.concat([cut, piece])
      const before = cut.length
      const whole = text.includes(backslash) ? text.subarray(0, endOfEscapes(text)) : text
      cut = Buffer.from(text.subarray(whole.length))
      const plain = whole.toString('latin1')
      const wrong = control.exec(plain)
      const unescaped = wrong === null ? withoutEscapes(plain) : null
      if (unescaped !== null) {
        await take(unescaped)
        return null
      }
      const at = wrong?.index ?? badEscape(plain)
      // the text before it is padded with letters, so that the fault is the first
      return { at: at - before, text: plain.slice(at, at + longestCutEscape + 1) }
    },
    async end () {
      if (head !== null) {
        const short = head.padEnd(headLength)
        head = ''
        await take(short)
      }
      try {
        decoder.end()
      } catch (error) {
        throw notBase64(error, field)
      }
      return await sink.end()
    }
  }
}

/** Length of the text without an escape that its end cuts. */
function endOfEscapes (text: Buffer): number {
  for (let at = Math.max(0, text.length - longestCutEscape); at < text.length; at++) {
    if (text[at] !== backslash) continue
    const isEscaped = backslashesBefore(text, at) % 2 === 1
    if (isEscaped) continue
    const length = text[at + 1] === 0x75 ? longestCutEscape + 1 : 2
    if (at + length > text.length) return at
    at += length - 1
  }
  return text.length
}

function backslashesBefore (text: Buffer, at: number): number {
  let first = at
  while (first > 0 && text[first - 1] === backslash) first--
  return at - first
}

/** Null if JSON does not know the escape. */
function withoutEscapes (text: string): string | null {
  if (!text.includes('\\')) return text
  try {
    return JSON.parse(`"${text}"`) as string
  } catch {
    return null
  }
}

const knownEscape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/g

function badEscape (text: string): number {
  return text.replace(knownEscape, known => '-'.repeat(known.length)).indexOf('\\')
}

function refilled (bytes: Buffer, gaps: readonly Gap[]): string {
  let text = ''
  let from = 0
  for (const { at, placed, length, fault } of gaps) {
    const filling = fault === null
      ? 'A'.repeat(length)
      : 'A'.repeat(fault.at) + fault.text + 'A'.repeat(Math.max(0, length - fault.at - fault.text.length))
    text += bytes.toString('utf8', from, at) + filling
    from = at + placed
  }
  return text + bytes.toString('utf8', from)
}
