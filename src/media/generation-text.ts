import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import { looksLikeJson } from '../a1111/foreign/foreign.ts'
import { type GenerationText, readForeignText, readTexts } from '../a1111/foreign/read-texts.ts'
import { toParameters } from '../a1111/infotext-parameters.ts'
import { type Infotext, parseInfotext } from '../a1111/infotext.ts'
import { ServiceError } from '../lib/errors.ts'
import sharp from '../lib/sharp.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import { bufferSource, type ByteSource, fileSource } from './image-header.ts'
import { isReadable, kindOf, readableKinds } from './images.ts'
import { readStealthText } from './stealth-text.ts'

/** Where tools write generation parameters (EXIF 2.32, §4.6). */
const wanted: Readonly<Record<number, string>> = {
  0x9286: 'UserComment', 0x010e: 'ImageDescription', 0x010f: 'Make', 0x0110: 'Model', 0x0131: 'Software', 0x927c: 'MakerNote'
}
const exifDirectory = 0x8769
const entryBytes = 12
/** An invalid directory can claim 65,535. */
const maxEntries = 512
/** Longest text that is decoded, in bytes. */
const longestText = 1_048_576

interface Tiff {
  readonly bytes: Buffer
  readonly short: (at: number) => number
  readonly long: (at: number) => number
  readonly little: boolean
}

/**
 * Texts of an EXIF block by the names of their fields. Reads only the wanted fields, so an invalid block costs no more
 * than a valid one; libraries that read every entry do not promise that.
 */
function readExifTexts (exif: Buffer): Map<string, string> {
  const bytes = exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif
  const little = bytes.toString('latin1', 0, 2) === 'II'
  const tiff: Tiff = {
    bytes,
    little,
    short: at => little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at),
    long: at => little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)
  }
  const found = new Map<string, string>()
  try {
    const first = tiff.long(4)
    const inner = collect(tiff, first, found)
    if (inner !== null) collect(tiff, inner, found)
  } catch (error) {
    // the position is outside a broken block
    if (!(error instanceof RangeError)) throw error
  }
  return found
}

/** @returns the position of EXIF's own directory, if this one points to it */
function collect ({ bytes, short, long, little }: Tiff, directory: number, found: Map<string, string>): number | null {
  let inner: number | null = null
  const entries = Math.min(short(directory), maxEntries)
  for (let index = 0; index < entries; index++) {
    const at = directory + 2 + index * entryBytes
    const tag = short(at)
    if (tag === exifDirectory) inner = long(at + 8)
    const name = wanted[tag]
    const length = long(at + 4)
    // 1 byte, 2 ASCII, 7 undefined: one byte a character
    if (name === undefined || found.has(name) || ![1, 2, 7].includes(short(at + 2)) || length > longestText) continue
    const start = length <= 4 ? at + 8 : long(at + 8)
    const text = decodeComment(bytes.subarray(start, start + length), little)
    if (text !== '') found.set(name, text)
  }
  return inner
}

/**
 * The text of a comment: eight bytes may name its encoding, and many tools write none. piexif, which A1111 uses, writes
 * big-endian UTF-16 whatever the block says.
 */
function decodeComment (comment: Buffer, little: boolean): string {
  const encoding = comment.toString('latin1', 0, 8)
  const text = comment.subarray(8)
  if (/^UNICODE[\0 ]/.test(encoding)) return clean(utf16(text, little))
  if (/^ASCII[\0 ]{3}/.test(encoding)) return clean(utf8OrLatin1(text))
  if (/^JIS[\0 ]{5}/.test(encoding)) {
    // with escapes by the standard, and by piexif without
    return clean(new TextDecoder(text.includes(0x1b) ? 'iso-2022-jp' : 'shift_jis').decode(text))
  }
  if (/^\0{8}/.test(encoding)) return clean(utf8OrLatin1(text))
  return clean(looksLikeUtf16(comment) ? utf16(comment, little) : utf8OrLatin1(comment))
}

function utf16 (text: Buffer, little: boolean): string {
  const mark = text.length < 2 ? 0 : text.readUInt16BE(0)
  const big = mark === 0xfeff || (mark !== 0xfffe && isBigEndian(text, little))
  const whole = text.subarray(mark === 0xfeff || mark === 0xfffe ? 2 : 0)
  return new TextDecoder(big ? 'utf-16be' : 'utf-16le').decode(whole)
}

/** Generation parameters are mostly ASCII, so nearly every other byte is zero: the first or the second of each pair. */
function isBigEndian (text: Buffer, little: boolean): boolean {
  let balance = 0
  for (let at = 0; at + 1 < text.length; at += 2) balance += Number(text[at] === 0) - Number(text[at + 1] === 0)
  return balance === 0 ? !little : balance > 0
}

function looksLikeUtf16 (text: Buffer): boolean {
  const head = text.subarray(0, 64)
  return head.length > 4 && head.filter(byte => byte === 0).length >= head.length / 3
}

/** Texts of old tools are Latin-1 where their rule says so, and UTF-8 where their authors did not care. */
function utf8OrLatin1 (text: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(text)
  } catch {
    return text.toString('latin1')
  }
}

function clean (text: string): string {
  return text.replaceAll('\0', '').trim()
}

/** Comments stand before the picture's data; what lies further back is not looked for. */
const headBytes = 4 * 1_048_576
const maxBlocks = 20_000

/** The comment of a GIF, in its extension blocks (GIF89a, §24); null where there is none. */
async function readGifComment (source: ByteSource): Promise<string | null> {
  const bytes = await source.read(0, headBytes)
  let at = 13 + colourTable(bytes[10] ?? 0)
  for (let block = 0; block < maxBlocks && at < bytes.length; block++) {
    const kind = bytes[at]
    if (kind === 0x2c) {
      // an image: its own colour table, a byte for the code size, data
      const end = endOfBlocks(bytes, at + 10 + colourTable(bytes[at + 9] ?? 0) + 1)
      at = end
    } else if (kind === 0x21) {
      const end = endOfBlocks(bytes, at + 2)
      if (bytes[at + 1] === 0xfe) return textOfBlocks(bytes, at + 2, end)
      at = end
    } else return null
  }
  return null
}

/** Bytes of a colour table, by the byte that says whether there is one. */
function colourTable (flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1)
}

/** Where a chain of blocks, each with its length before it, is over. */
function endOfBlocks (bytes: Buffer, start: number): number {
  let at = start
  while (at < bytes.length && bytes[at] !== 0) at += 1 + (bytes[at] ?? 0)
  return at + 1
}

function textOfBlocks (bytes: Buffer, start: number, end: number): string {
  const parts: Buffer[] = []
  for (let at = start; at < end - 1;) {
    const next = at + 1 + (bytes[at] ?? 0)
    parts.push(bytes.subarray(at + 1, next))
    at = next
  }
  return utf8OrLatin1(Buffer.concat(parts)).replaceAll('\0', '').trim()
}

/** The comment of a JPEG, in its COM segment (ITU T.81, B.2.4.5); null where there is none. */
async function readJpegComment (source: ByteSource): Promise<string | null> {
  let at = 2
  for (let segment = 0; segment < maxBlocks; segment++) {
    const head = await source.read(at, 4)
    if (head.length < 4 || head[0] !== 0xff || head[1] === 0xda || head[1] === 0xd9) return null
    const length = head.readUInt16BE(2)
    if (head[1] === 0xfe) return utf8OrLatin1(await source.read(at + 4, length - 2)).replaceAll('\0', '').trim()
    at += 2 + length
  }
  return null
}

const inflated = promisify<Buffer, object, Buffer>(inflate)
const maxChunks = 10_000
/** A picture has few texts; more are there to cost time. */
const maxTexts = 64
const signatureBytes = 8

/**
 * The texts in a PNG's tEXt, zTXt and iTXt chunks by keyword, the first of each. Pixels are not read.
 *
 * sharp's `metadata().comments` does not replace this (0.35.5): it misses texts behind the pixels, breaks Latin-1,
 * which is what tEXt and zTXt contain by the specification, ends a text at a NUL, and inflates far larger zTXt chunks.
 */
async function readPngTexts (source: ByteSource): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  let position = signatureBytes
  let read = 0
  for (let chunk = 0; chunk < maxChunks && read < maxTexts; chunk++) {
    const head = await source.read(position, 8)
    if (head.length < 8) break
    const length = head.readUInt32BE(0)
    const type = head.toString('latin1', 4, 8)
    if (type === 'IEND') break
    if (['tEXt', 'zTXt', 'iTXt'].includes(type) && length <= longestText) {
      read += 1
      const found = await textOf(type, await source.read(position + 8, length))
      if (found !== null && !texts.has(found[0])) texts.set(...found)
    }
    position += length + 12
  }
  return texts
}

/** Layouts: PNG specification, third edition, §11.3.3. */
async function textOf (type: string, data: Buffer): Promise<[keyword: string, text: string] | null> {
  const end = data.indexOf(0)
  if (end === -1) return null
  const keyword = data.toString('latin1', 0, end)
  const rest = data.subarray(end + 1)
  const named = (text: Buffer | null): [string, string] | null => text === null ? null : [keyword, utf8OrLatin1(text)]
  if (type === 'tEXt') return named(rest)
  if (type === 'zTXt') return named(await unpacked(rest.subarray(1)))
  const language = rest.indexOf(0, 2)
  const translation = language === -1 ? -1 : rest.indexOf(0, language + 1)
  if (translation === -1) return null
  const text = rest.subarray(translation + 1)
  return named(rest[0] === 1 ? await unpacked(text) : text)
}

/** Null for what is broken or larger than any text. */
async function unpacked (data: Buffer): Promise<Buffer | null> {
  try {
    return await inflated(data, { maxOutputLength: longestText })
  } catch {
    return null
  }
}

/** Pictures of more pixels are not decoded in search of text in their bits. */
const maxStealthPixels = 40_000_000
/** Fields of a TIFF that lie further back are not read, in bytes. */
const longestTiff = 64 * 1_048_576

/**
 * The generation parameters in a picture, as A1111 writes them; null when there are none.
 * @param image bytes, or the path of a file
 */
export async function readGenerationText (image: Buffer | string): Promise<string | null> {
  return (await readGeneration(image))?.text || null
}

/** What is known of the generation of a picture, whichever program wrote it; null when there is nothing. */
export async function readGeneration (image: Buffer | string): Promise<GenerationText | null> {
  if (typeof image !== 'string') return await readFrom(bufferSource(image), image)
  const file = await open(image)
  try {
    const { size } = await file.stat()
    return await readFrom(fileSource(async (...part) => (await file.read(...part)).bytesRead, size), image)
  } finally {
    await file.close()
  }
}

async function readFrom (source: ByteSource, image: Buffer | string): Promise<GenerationText | null> {
  const kind = kindOf(await source.read(0, 64))
  const texts = kind === 'png' ? await readPngTexts(source) : new Map<string, string>()
  if (kind === 'gif' || kind === 'jpeg') {
    addComment(texts, kind === 'gif' ? await readGifComment(source) : await readJpegComment(source))
  }
  const found = readTexts(texts)
  if (found !== null && found.source !== null) return found
  // sharp takes no other kinds, and from SVG it would read what that points to
  if (!['png', 'jpeg', 'webp', 'avif', 'tiff', 'gif'].includes(kind ?? '')) return found
  const metadata = await sharp(image, { limitInputPixels: false }).metadata().catch(() => null)
  if (metadata === null) return found
  // a TIFF is built as its EXIF block would be
  const exif = kind === 'tiff' ? await source.read(0, longestTiff) : metadata.exif
  const inExif = exif === undefined ? null : readTexts(itemsOfExif(readExifTexts(exif)))
  if (inExif !== null && inExif.source !== null) return inExif
  const { width, height } = metadata
  const mayHide = kind === 'png' || kind === 'webp'
  const hidden = mayHide ? await readStealthText({ image, width, height, maxPixels: maxStealthPixels }) : null
  return (hidden === null ? null : readTexts(new Map([['parameters', hidden]]))) ?? inExif ?? found
}

/** Programs such as encoders sign in comments, too; only parameters count there. */
function addComment (texts: Map<string, string>, comment: string | null): void {
  if (comment !== null && (looksLikeJson(comment) || parseInfotext(comment).fields.size > 0)) texts.set('parameters', comment)
}

/** ComfyUI writes `prompt:{…}` and `workflow:{…}` into whatever field is free; A1111 and others use the comment. */
function itemsOfExif (texts: ReadonlyMap<string, string>): Map<string, string> {
  const items = new Map<string, string>()
  for (const text of texts.values()) {
    const [, key = '', value = ''] = /^(prompt|workflow):\s*(\{.*)$/is.exec(text) ?? []
    if (key !== '' && !items.has(key.toLowerCase())) items.set(key.toLowerCase(), value)
  }
  const software = texts.get('Software')
  if (software !== undefined) items.set('Software', software)
  const [description, comment] = [texts.get('ImageDescription'), texts.get('UserComment')]
  if (comment !== undefined) items.set('parameters', comment)
  else if (description !== undefined && !items.has('prompt')) addComment(items, description)
  return items
}

const nothing: GenerationText = { source: null, text: '', infotext: null, notes: [] }

/**
 * What a picture says about its generation, whichever program wrote it.
 * @param image bytes, base64 or a data URL
 * @throws ServiceError `invalid_image`
 */
export async function readImage (image: Buffer | string): Promise<GenerationText> {
  return await readGeneration(await bytesOf(image)) ?? nothing
}

/** The same for a text: A1111's own, or the JSON of another program. */
export function readText (text: string): GenerationText {
  if (text.trim() === '') return nothing
  return readForeignText(text) ?? { source: 'A1111', text, infotext: parseInfotext(text), notes: [] }
}

/** An infotext as fields of a submission; none where there is none. */
export function parametersOf (infotext: Infotext | null): Record<string, unknown> {
  if (infotext === null) return {}
  const { override_settings: settings, ...parameters } = toParameters(infotext)
  const hasSettings = typeof settings === 'object' && settings !== null && Object.keys(settings).length > 0
  return hasSettings ? { ...parameters, override_settings: settings } : parameters
}

async function bytesOf (image: Buffer | string): Promise<Buffer> {
  try {
    const bytes = typeof image === 'string' ? await decodeBase64(image.trim().replace(/^data:[^,]{0,256},/, '')) : image
    if (isReadable(kindOf(bytes.subarray(0, 64)))) return bytes
  } catch (error) {
    if (!(error instanceof Base64Fault)) throw error
  }
  throw new ServiceError('invalid_image', `image must be a ${readableKinds}${typeof image === 'string' ? ' as base64' : ''}.`, { field: 'image' })
}
