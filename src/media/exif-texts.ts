/** Where tools write generation parameters (EXIF 2.32, §4.6). */
const wanted: Readonly<Record<number, string>> = {
  0x9286: 'UserComment', 0x010e: 'ImageDescription', 0x010f: 'Make', 0x0110: 'Model', 0x0131: 'Software', 0x927c: 'MakerNote'
}
const exifDirectory = 0x8769
const entryBytes = 12
/** A made-up directory may claim 65,535. */
const mostEntries = 512
/** Longest text that is decoded, in bytes. */
const longestText = 1_048_576

interface Tiff {
  readonly bytes: Buffer
  readonly short: (at: number) => number
  readonly long: (at: number) => number
  readonly little: boolean
}

/**
 * Texts of an EXIF block by the names of their fields. Only fields that are wanted are looked at, so a made-up block
 * costs no more than a sound one, which libraries that read every entry do not promise.
 */
export function readExifTexts (exif: Buffer): Map<string, string> {
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
    // where the reader of a broken block ends up: outside of it
    if (!(error instanceof RangeError)) throw error
  }
  return found
}

/** @returns where the directory of EXIF's own fields begins, where this one points to it */
function collect ({ bytes, short, long, little }: Tiff, directory: number, found: Map<string, string>): number | null {
  let inner: number | null = null
  const entries = Math.min(short(directory), mostEntries)
  for (let index = 0; index < entries; index++) {
    const at = directory + 2 + index * entryBytes
    const tag = short(at)
    if (tag === exifDirectory) inner = long(at + 8)
    const name = wanted[tag]
    const length = long(at + 4)
    // 1 byte, 2 ASCII, 7 undefined: one byte a sign
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
export function utf8OrLatin1 (text: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(text)
  } catch {
    return text.toString('latin1')
  }
}

function clean (text: string): string {
  return text.replaceAll('\0', '').trim()
}
