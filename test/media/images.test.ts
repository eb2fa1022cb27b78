// A process of its own: it measures memory.
import { randomBytes } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { ServiceError } from '../../src/lib/errors.ts'
import { readGenerationText } from '../../src/media/generation-text.ts'
import { bufferSource, readImageHeader } from '../../src/media/image-header.ts'
import { bodyLimitMib, checkImage, imageLimits } from '../../src/media/images.ts'
import { encodePng } from '../../src/simulator/images/png.ts'

const limits = imageLimits({ IMAGE_MAX_MIB: 20, IMAGE_MAX_MEGAPIXELS: 16.8, IMAGES_PER_JOB: 16 })
const canvas = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#36a' } })
const small = canvas(40, 24)
const png = await small.png().toBuffer()
const jpeg = await small.jpeg().toBuffer()
const webp = await small.webp().toBuffer()

/** A PNG of a few bytes whose header claims this size. */
function bomb (width: number, height: number): Buffer {
  const bytes = Buffer.from(png)
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  return bytes
}

function withByte (bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = value
  return copy
}

async function refusal (text: string): Promise<ServiceError> {
  const error: unknown = await checkImage(text, 'init_images.0', limits).catch((reason: unknown) => reason)
  if (error instanceof ServiceError) return error
  throw new Error(`accepted: ${text.slice(0, 60)}`)
}

t.test('a valid image is accepted in every form that clients send', async t => {
  const forms = {
    'plain base64': png.toString('base64'),
    'a data URL': `data:image/png;base64,${png.toString('base64')}`,
    'a data URL with a parameter': `data:image/png;name=a.png;base64,${png.toString('base64')}`,
    'a data URL of another type': `data:image/jpeg;base64,${png.toString('base64')}`,
    'base64 in lines': png.toString('base64').replace(/.{76}/g, '$&\r\n')
  }
  for (const [form, text] of Object.entries(forms)) {
    const image = await checkImage(text, 'mask', limits)
    t.match(image, { format: 'png', extension: 'png', width: 40, height: 24 }, form)
    t.ok(image.bytes.equals(png), `${form} gives the same bytes`)
  }
  t.match(await checkImage(jpeg.toString('base64'), 'mask', limits), { extension: 'jpg', width: 40, height: 24 })
  t.match(await checkImage(webp.toString('base64'), 'mask', limits), { extension: 'webp', width: 40, height: 24 })
})

const noise = await sharp(randomBytes(96 * 64 * 3), { raw: { width: 96, height: 64, channels: 3 } }).png().toBuffer()
const picture = () => sharp(noise)
const half = (bytes: Buffer) => bytes.subarray(0, Math.floor(bytes.length / 2))

/** 32 bits a pixel, rows from the bottom up. */
function bmp (width: number, height: number, alpha: number): Buffer {
  const bytes = Buffer.alloc(54 + width * height * 4)
  bytes.write('BM', 'latin1')
  bytes.writeUInt32LE(bytes.length, 2)
  bytes.writeUInt32LE(54, 10)
  bytes.writeUInt32LE(40, 14)
  bytes.writeInt32LE(width, 18)
  bytes.writeInt32LE(height, 22)
  bytes.writeUInt16LE(1, 26)
  bytes.writeUInt16LE(32, 28)
  for (let at = 54; at < bytes.length; at += 4) bytes.set([0x10, 0x20, 0xf0, alpha], at)
  return bytes
}

t.test('formats that not every server reads become a PNG of the first frame, with its transparency', async t => {
  const clear = await sharp({
    create: { width: 40, height: 24, channels: 4, background: { r: 240, g: 32, b: 16, alpha: 0 } }
  }).png().toBuffer()
  const frames = await sharp([clear, png], { join: { animated: true } }).gif({ delay: [100, 100] }).toBuffer()
  const cases: Array<[string, Buffer, boolean]> = [
    ['AVIF', await sharp(clear).avif({ effort: 0 }).toBuffer(), true],
    ['TIFF', await sharp(clear).tiff({ compression: 'lzw' }).toBuffer(), true],
    ['GIF', await small.gif().toBuffer(), false],
    ['GIF that moves', frames, true],
    ['BMP', bmp(40, 24, 0), false]
  ]
  for (const [what, bytes, isClear] of cases) {
    const image = await checkImage(bytes.toString('base64'), 'mask', limits)
    t.match(image, { format: 'png', extension: 'png', width: 40, height: 24 }, what)
    const { data, info } = await sharp(image.bytes).ensureAlpha().raw().toBuffer({ resolveWithObject: true })
    t.match(info, { width: 40, height: 24 }, what)
    t.equal((data[3] ?? 0) < 255, isClear, `${what}: transparency`)
  }
  const colours = await checkImage(bmp(3, 5, 0).toString('base64'), 'mask', limits)
  const pixels = await sharp(colours.bytes).raw().toBuffer()
  t.strictSame([...pixels.subarray(0, 4)], [0xf0, 0x20, 0x10, 255])
  const turned = await picture().tiff().withMetadata({ orientation: 6 }).toBuffer()
  t.match(await sharp((await checkImage(turned.toString('base64'), 'mask', limits)).bytes).metadata(), { width: 64, height: 96 })
})

t.test('bytes behind the end of an image do no harm', async t => {
  const film = Buffer.concat([Buffer.from([0, 0, 0, 0x18]), Buffer.from('ftypmp42'), randomBytes(200_000).map(byte => byte & 0x7f)])
  const others = [picture().jpeg(), picture().webp(), picture().avif({ effort: 0 })]
  for (const bytes of [noise, ...await Promise.all(others.map(other => other.toBuffer()))]) {
    const whole = Buffer.concat([bytes, film])
    t.match(await checkImage(whole.toString('base64'), 'mask', limits), { width: 96, height: 64 })
  }
})

t.test('an image that cannot be decoded to its end is rejected, whatever its end looks like', async t => {
  const jpegEnd = Buffer.from([0xff, 0xd9])
  const cutWebp = Buffer.from(half(await picture().webp().toBuffer()))
  cutWebp.writeUInt32LE(cutWebp.length - 8, 4)
  const cases: Array<[string, Buffer]> = [
    ['PNG', Buffer.concat([half(noise), noise.subarray(-12)])],
    ['JPEG', Buffer.concat([half(await picture().jpeg().toBuffer()), jpegEnd])],
    ['progressive JPEG', Buffer.concat([half(await picture().jpeg({ progressive: true }).toBuffer()), jpegEnd])],
    ['WebP', cutWebp],
    ['AVIF', half(await picture().avif({ effort: 0 }).toBuffer())],
    ['TIFF', half(await picture().tiff().toBuffer())],
    ['GIF', Buffer.concat([half(await picture().gif().toBuffer()), Buffer.from([0, 0x3b])])],
    ['BMP', half(bmp(40, 24, 0))]
  ]
  for (const [what, bytes] of cases) {
    const error = await refusal(bytes.toString('base64'))
    t.match([error.code, error.message], ['invalid_image', /^init_images\.0 (cannot be decoded|is a.* cut off|is broken)/], what)
  }
})

t.test('formats that no server reads are rejected by name', async t => {
  const heic = Buffer.concat([Buffer.from([0, 0, 0, 0x18]), Buffer.from('ftypheic\0\0\0\0mif1heic')])
  const cases: Array<[string, Buffer, RegExp]> = [
    ['SVG', Buffer.from('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'), /SVG/],
    ['HEIC', heic, /a HEIC/],
    ['PSD', Buffer.from('8BPS\0\x01\0\0\0\0\0\0'), /a PSD/],
    ['video', Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0isommp42'), /a video/],
    ['PDF', Buffer.from('%PDF-1.7 and more of it'), /a PDF/],
    ['icon', Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0]), /an icon/]
  ]
  for (const [what, bytes, sentence] of cases) {
    const error = await refusal(bytes.toString('base64'))
    t.match([error.code, error.message, error.details], ['invalid_image', sentence, { field: 'init_images.0' }], what)
  }
})

t.test('the limit of bytes follows from the limit of pixels', async t => {
  const derived = imageLimits({ IMAGE_MAX_MIB: 0, IMAGE_MAX_MEGAPIXELS: 16.8, IMAGES_PER_JOB: 16 })
  const [width, height] = [700, 600]
  const sample = await sharp(randomBytes(width * height * 4), { raw: { width, height, channels: 4 } }).png().toBuffer()
  t.ok(sample.length / (width * height) * 4096 * 4096 < derived.bytes, 'a PNG of noise of 4096x4096 fits')
  t.ok(bodyLimitMib({ BODY_LIMIT_MIB: 0, IMAGE_MAX_MIB: 0, IMAGE_MAX_MEGAPIXELS: 16.8 }) * 1_048_576 > derived.bytes * 4 / 3, 'as base64, too')
  t.equal(imageLimits({ IMAGE_MAX_MIB: 5, IMAGE_MAX_MEGAPIXELS: 16.8, IMAGES_PER_JOB: 16 }).bytes, 5 * 1_048_576)
  t.equal(bodyLimitMib({ BODY_LIMIT_MIB: 10, IMAGE_MAX_MIB: 0, IMAGE_MAX_MEGAPIXELS: 16.8 }), 10)
})

t.test('the error for other data names the field and the accepted formats', async t => {
  const text = png.toString('base64')
  const cases: Array<[who: string, text: string, sentence: RegExp]> = [
    ['nothing', '  ', /is empty/],
    ['an address', 'https://example.com/a.png', /not fetched/],
    ['a data URL without base64', 'data:image/svg+xml,<svg/>', /data:image\/png;base64,/],
    ['URL-safe base64', '_-_-', /URL-safe/],
    ['a foreign character', `${text.slice(0, 8)}*${text.slice(9)}`, /characters other/],
    ['a letter beyond ASCII', `${text.slice(0, 8)}ü${text.slice(9)}`, /characters other/],
    ['padding left out', text.replace(/=+$/, '').slice(0, -1), /multiple of 4/],
    ['padding in the middle', 'QQ==QUJD', /characters other/],
    ['text behind the padding', `${Buffer.alloc(786_430).toString('base64')}QUJD`, /padding|characters other/],
    ['three signs of padding', 'Q===', /characters other/],
    ['text', Buffer.from('just words, nothing to see').toString('base64'), /is no image; send a PNG/],
    ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString('base64'), /text or SVG/],
    ['a GIF of 65535x65535', Buffer.from('GIF89a\xff\xff\xff\xff\0\0\0', 'latin1').toString('base64'), /a GIF/],
    ['a picture that ends in its header', png.subarray(0, 20).toString('base64'), /broken before its size/],
    ['a PNG without its end', png.subarray(0, -10).toString('base64'), /cut off/],
    ['a JPEG without its end', jpeg.subarray(0, -40).toString('base64'), /cut off/],
    ['a WebP without its end', webp.subarray(0, -10).toString('base64'), /cut off/],
    ['a picture without width', bomb(0, 10).toString('base64'), /0x10/],
    ['a PNG of a colour depth that there is not', withByte(png, 24, 77).toString('base64'), /cannot be decoded/]
  ]
  for (const [who, given, sentence] of cases) {
    const error = await refusal(given)
    t.equal(error.code, 'invalid_image', who)
    t.match(error.message, sentence, `${who}: the sentence`)
    t.equal(error.details.field, 'init_images.0')
  }
})

t.test('a decompression bomb is rejected by its header, before anything is decoded', async t => {
  const black = await encodePng({ width: 6000, height: 3000, data: Buffer.alloc(6000 * 3000 * 3) })
  const wide = Buffer.from(webp)
  wide.write('VP8X', 12)
  wide.writeUIntLE(0xffffff, 24, 3)
  wide.writeUIntLE(0xffffff, 27, 3)
  t.ok(black.length < 100_000, 'the bomb itself is small')
  const before = process.memoryUsage().rss
  for (const bytes of [black, bomb(10_000, 10_000), bomb(50_000, 50_000), bomb(0xffffffff, 0xffffffff), wide]) {
    const error = await refusal(bytes.toString('base64'))
    t.equal(error.code, 'invalid_image')
    t.match(error.message, /at most 16\.8 million/)
  }
  t.ok(process.memoryUsage().rss - before < 50 * 1_048_576, 'memory stays as it was')
})

t.test('too many bytes are rejected, by the length of the text and of the data', async t => {
  const tight = { ...limits, bytes: png.length - 1 }
  for (const text of [png.toString('base64'), 'A'.repeat(png.length * 4)]) {
    await t.rejects(checkImage(text, 'mask', tight), { code: 'payload_too_large', message: /^mask is too large/ })
  }
})

t.test('an image of 20 MiB does not block the event loop', async t => {
  const noise = Buffer.concat([png.subarray(0, 33), Buffer.alloc(20 * 1_048_576 - png.length), png.subarray(33)])
  const text = noise.toString('base64')
  let turns = 0
  let done = false
  const count = () => {
    turns++
    if (!done) setImmediate(count)
  }
  setImmediate(count)
  await refusal(text)
  done = true
  t.ok(turns >= 20, 'other work ran in between')
})

t.test('the size is found behind metadata of any length', async t => {
  const segment = Buffer.alloc(65_000 + 2)
  segment.writeUInt16BE(0xffe1, 0)
  segment.writeUInt16BE(65_000, 2)
  const heavy = Buffer.concat([jpeg.subarray(0, 2), ...Array<Buffer>(40).fill(segment), jpeg.subarray(2)])
  t.match(await readImageHeader(bufferSource(heavy)), { format: 'jpeg', width: 40, height: 24 })
  const lossless = await small.webp({ lossless: true }).toBuffer()
  const extended = await small.ensureAlpha(0.5).webp().withMetadata().toBuffer()
  for (const bytes of [webp, lossless, extended]) {
    t.match(await readImageHeader(bufferSource(bytes)), { format: 'webp', width: 40, height: 24 })
  }
  const endless = Buffer.concat([jpeg.subarray(0, 2), Buffer.alloc(1_048_576, 0xff)])
  t.equal(await readImageHeader(bufferSource(endless)), null)
})

t.test('generation parameters are read from every format that A1111 writes', async t => {
  const picture = { width: 8, height: 8, data: Buffer.alloc(8 * 8 * 3) }
  for (const text of ['a cat\nSteps: 20, Sampler: Euler a', '猫 auf dem Dach\nSteps: 20']) {
    t.equal(await readGenerationText(await encodePng(picture, { parameters: text })), text, 'PNG')
    for (const byteOrder of ['MM', 'II'] as const) {
      const exif = exifWithComment(text, byteOrder)
      t.equal(await readGenerationText(withExif(jpeg, exif)), text, `JPEG, ${byteOrder}`)
    }
  }
  const folder = t.testdir()
  const path = `${folder}/a.webp`
  await small.webp().withExif({ IFD2: { UserComment: 'a cat' } }).toFile(path)
  t.match(await readGenerationText(path), 'a cat')
  t.equal(await readGenerationText(png), null)
  t.equal(await readGenerationText(jpeg), null)
  t.equal(await readGenerationText(Buffer.from('no picture')), null)
})

/** The form of piexif: UserComment in the Exif directory, its text in big-endian UTF-16. */
function exifWithComment (text: string, byteOrder: 'MM' | 'II'): Buffer {
  const comment = Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from(text, 'utf16le').swap16()])
  const tiff = Buffer.alloc(44)
  const short = (value: number, at: number) => byteOrder === 'MM' ? tiff.writeUInt16BE(value, at) : tiff.writeUInt16LE(value, at)
  const long = (value: number, at: number) => byteOrder === 'MM' ? tiff.writeUInt32BE(value, at) : tiff.writeUInt32LE(value, at)
  tiff.write(byteOrder, 'latin1')
  short(42, 2)
  long(8, 4)
  const entry = (at: number, tag: number, type: number, count: number, value: number) => {
    short(1, at)
    short(tag, at + 2)
    short(type, at + 4)
    long(count, at + 6)
    long(value, at + 10)
  }
  entry(8, 0x8769, 4, 1, 26)
  entry(26, 0x9286, 7, comment.length, 44)
  return Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff, comment])
}

function withExif (bytes: Buffer, exif: Buffer): Buffer {
  const head = Buffer.from([0xff, 0xe1, 0, 0])
  head.writeUInt16BE(exif.length + 2, 2)
  return Buffer.concat([bytes.subarray(0, 2), head, exif, bytes.subarray(2)])
}
