import { imageFormatOf, type ImageFormat } from './image-header.ts'

/** Pictures that are read: those that servers get as they are, and those that are converted first. */
export type ReadableKind = ImageFormat | 'avif' | 'gif' | 'tiff' | 'bmp'
/** Pictures that are known and not read, because no server could. */
export type RefusedKind = 'heic' | 'svg' | 'psd' | 'jxl' | 'ico' | 'video' | 'pdf'
export type PictureKind = ReadableKind | RefusedKind

export const readableKinds = 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP'

/** Brands of ISO base media files (ISO 14496-12, §4.3); what is neither AVIF nor HEIC is a video. */
const avifBrands = /^(?:avif|avis)$/
const heicBrands = /^(?:heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/
const stillBrands = /^(?:mif1|msf1|miaf)$/

type Signature = (head: Buffer, text: string) => boolean

/** First bytes, in hexadecimal. */
const begins = (...starts: string[]): Signature => head => starts.some(start => head.toString('hex').startsWith(start))
/** Sizes of the headers that bitmaps have had, from OS/2 to version 5. */
const bitmapHeaders = [12, 16, 40, 52, 56, 64, 108, 124]

const signatures: ReadonlyArray<readonly [PictureKind, Signature]> = [
  ['gif', (_head, text) => /^GIF8[79]a/.test(text)],
  ['tiff', begins('49492a00', '49492b00', '4d4d002a', '4d4d002b')],
  ['bmp', (head, text) => text.startsWith('BM') && head.length >= 18 && bitmapHeaders.includes(head.readUInt32LE(14))],
  ['psd', (_head, text) => text.startsWith('8BPS')],
  ['jxl', begins('ff0a', '0000000c4a584c20')],
  ['ico', begins('00000100', '00000200')],
  ['pdf', (_head, text) => text.startsWith('%PDF-')],
  ['video', (head, text) => begins('1a45dfa3')(head, text) || (text.startsWith('RIFF') && text.slice(8, 12) === 'AVI ')],
  ['svg', (_head, text) => /^(?:\xef\xbb\xbf)?\s*<(?:svg|\?xml|!DOCTYPE\s+svg|!--)/i.test(text)]
]

/** What the first bytes say, of which 64 are enough; null for no picture that is known. */
export function kindOf (head: Buffer): PictureKind | null {
  const format = imageFormatOf(head)
  if (format !== null) return format
  const text = head.toString('latin1', 0, 64)
  if (text.slice(4, 8) === 'ftyp') return kindOfBrands(text)
  return signatures.find(([, fits]) => fits(head, text))?.[0] ?? null
}

/** A file lists the brands that it fits: the first, a version, and more. */
function kindOfBrands (text: string): PictureKind {
  const brands = [text.slice(8, 12), ...(text.slice(16, 48).match(/[\s\S]{4}/g) ?? [])]
  if (brands.some(brand => avifBrands.test(brand))) return 'avif'
  const [first = ''] = brands
  return heicBrands.test(first) || stillBrands.test(first) ? 'heic' : 'video'
}

export function isReadable (kind: PictureKind | null): kind is ReadableKind {
  return kind !== null && ['png', 'jpeg', 'webp', 'avif', 'gif', 'tiff', 'bmp'].includes(kind)
}
