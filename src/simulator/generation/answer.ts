import sharp from 'sharp'
import type { GenerationRequest } from '../../a1111/request-model.ts'
import { HttpException } from '../../fastapi/errors.ts'
import { stringifyJson, stringifyKeepingFloats, withFloatsOf } from '../../lib/exact-json.ts'
import type { StruckFaults } from '../faults/faults.ts'
import { encodeMedia, media } from '../images/media.ts'
import type { Bitmap } from '../images/pixels.ts'
import { encodePng, insertIntoJpeg, insertIntoWebp, writeUserComment } from '../images/png.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Generation } from './generate.ts'
import { argumentsOf } from './scripts.ts'

export type ImageFormat = 'png' | 'jpeg' | 'webp'

/**
 * The format that the option `samples_format` asks for.
 *
 * @throws HttpException for any other than png, jpg, jpeg and webp
 */
function readFormat (option: unknown): ImageFormat {
  const name = String(option).toLowerCase()
  if (name === 'png') return 'png'
  if (name === 'jpg' || name === 'jpeg') return 'jpeg'
  if (name === 'webp') return 'webp'
  throw new HttpException(500, 'Invalid image format')
}

/** Encodes an image with its infotext inside, as PNG text or EXIF user comment; `pngLevel` is zlib's, 0 to 9. */
async function encodeImage (
  picture: Bitmap, format: ImageFormat, infotext: string, pngLevel: number
): Promise<Buffer> {
  if (format === 'png') return await encodePng(picture, { parameters: infotext }, pngLevel)
  const { data, width, height } = picture
  const image = sharp(data, { raw: { width, height, channels: 3 } })
  const exif = writeUserComment(infotext)
  if (format === 'jpeg') return insertIntoJpeg(await image.jpeg({ quality: 80 }).toBuffer(), exif)
  return insertIntoWebp(await image.webp({ quality: 80 }).toBuffer(), exif, { width, height })
}

/** A flavour's form of the answer, if it differs from A1111's. */
export interface AnswerShape {
  /** The echo instead of the request with its defaults. */
  readonly parameters?: Readonly<Record<string, unknown>>
  readonly describe?: (info: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
}

/**
 * The JSON of a generation's answer as bytes, put together by hand because a batch of big images makes tens of
 * megabytes. `parameters` echoes the request with its defaults, not what was made of them.
 *
 * @throws HttpException when the option for the image format names none
 */
export async function writeAnswer (
  server: ServerProcess, request: GenerationRequest, generation: Generation,
  how: AnswerShape & { readonly faults: StruckFaults }
): Promise<Buffer> {
  const { faults, describe = info => info } = how
  const format = readFormat(server.options.get('samples_format'))
  const isNoise = server.machine.settings.noise || faults.has('noise')
  const images: Buffer[] = []
  if (request.send_images) {
    for (const [index, picture] of generation.pictures.entries()) {
      images.push(await encodeImage(picture, format, generation.infotexts[index] ?? '', isNoise ? 0 : 4))
    }
  }
  const others = await otherMedia(images, request, server.machine.settings.scripts, faults)
  const texts = spoil(others ?? images.map(image => image.toString('base64')), faults)
  const parameters = stringifyKeepingFloats(how.parameters ?? echo(request))
  const described = stringifyKeepingFloats(describe(generation.info))
  const info = stringifyJson(faults.has('bare-nan') ? `${described.slice(0, -1)}, "loss": NaN, "range": [-Infinity, Infinity]}` : described)
  return Buffer.concat([
    Buffer.from('{"images":['),
    ...texts.flatMap((text, index) => [Buffer.from(`${index === 0 ? '' : ','}"`), Buffer.from(text), Buffer.from('"')]),
    Buffer.from(`],"parameters":${parameters},"info":${info}}`)
  ])
}

/** Base64 that AnimateDiff or a fault adds to the answer; null if there are images only. */
async function otherMedia (
  images: readonly Buffer[], request: GenerationRequest, scripts: readonly string[], faults: StruckFaults
): Promise<string[] | null> {
  const plain = images.map(image => image.toString('base64'))
  const fault = faults.get('other-media')
  if (fault !== undefined) return [...fault.beside === true ? plain : [], ...await encodeMedia(images, fault.media ?? ['unknown'])]
  const [unit] = argumentsOf(request, 'animatediff', scripts)
  if (!isAnimation(unit)) return null
  const formats = media.filter(one => unit.format?.some(format => format.toLowerCase() === one))
  return [...await encodeMedia(images, formats), ...unit.format?.includes('PNG') === true ? plain : []]
}

function isAnimation (unit: unknown): unit is { format?: string[] } {
  return typeof unit === 'object' && unit !== null && 'enable' in unit && unit.enable === true
}

function spoil (images: string[], faults: StruckFaults): string[] {
  const wrongCount = faults.get('wrong-image-count')
  if (wrongCount !== undefined) {
    const count = wrongCount.count ?? images.length - 1
    images = Array.from({ length: Math.max(0, count) }, (_, index) => images[index % images.length] ?? '')
  }
  if (faults.has('corrupt-base64')) return images.map(image => `${image.slice(0, 40)}*!?${image.slice(43)}`)
  if (faults.has('corrupt-image')) return images.map(() => Buffer.from('this is not an image').toString('base64'))
  return images
}

function echo (request: GenerationRequest): Record<string, unknown> {
  const isWhole = request.init_images === undefined || request.include_init_images === true
  if (isWhole) return withFloatsOf(request, { ...request })
  return withFloatsOf(request, { ...request, init_images: null, mask: null })
}
