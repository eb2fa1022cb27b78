import { applyInfotext, tripOverStyles } from '../../a1111/pasted-parameters.ts'
import { generationModel, type GenerationRequest, type Mode } from '../../a1111/request-model.ts'
import { HttpException, ProcessDied } from '../../fastapi/errors.ts'
import { stringifyJson, stringifyKeepingFloats, withFloatsOf } from '../../lib/exact-json.ts'
import sharp from '../../lib/sharp.ts'
import { type Fault, readFaultText, type StruckFaults } from '../faults/faults.ts'
import { crashBy, strikeOnArrival } from '../faults/strike.ts'
import { generate, type Generation } from '../generation/generate.ts'
import { argumentsOf } from '../generation/scripts.ts'
import { encodeMedia, media } from '../images/media.ts'
import type { Bitmap } from '../images/pixels.ts'
import { encodePng, insertIntoJpeg, insertIntoWebp, writeUserComment } from '../images/png.ts'
import type { ServerProcess } from '../server-process.ts'
import { wait } from '../timing.ts'
import { type Answer, createAnswer, post, proxyPage, type Route, type RouteInput } from './route.ts'

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
  bitmap: Bitmap, format: ImageFormat, infotext: string, pngLevel: number
): Promise<Buffer> {
  if (format === 'png') return await encodePng(bitmap, { parameters: infotext }, pngLevel)
  const { data, width, height } = bitmap
  const image = sharp(data, { raw: { width, height, channels: 3 } })
  const exif = writeUserComment(infotext)
  if (format === 'jpeg') return insertIntoJpeg(await image.jpeg({ quality: 80 }).toBuffer(), exif)
  return insertIntoWebp(await image.webp({ quality: 80 }).toBuffer(), exif, { width, height })
}

/** A flavour's form of the answer, if it differs from A1111's. */
interface AnswerShape {
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
async function writeAnswer (
  server: ServerProcess, request: GenerationRequest, generation: Generation,
  how: AnswerShape & { readonly faults: StruckFaults }
): Promise<Buffer> {
  const { faults, describe = info => info } = how
  const format = readFormat(server.options.get('samples_format'))
  const isNoise = server.machine.settings.noise || faults.has('noise')
  const images: Buffer[] = []
  if (request.send_images) {
    for (const [index, bitmap] of generation.bitmaps.entries()) {
      images.push(await encodeImage(bitmap, format, generation.infotexts[index] ?? '', isNoise ? 0 : 4))
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

/** POST /sdapi/v1/txt2img and /img2img. */
export function generationRoutes (server: ServerProcess): Route[] {
  const { flavor, family } = server.machine.settings
  const model = flavor === 'sdnext' ? 'sdnext' : family === 'forge' ? 'forge' : 'a1111'
  return (['txt2img', 'img2img'] as const).map(mode => post(
    `/sdapi/v1/${mode}`,
    async input => await answerGeneration(server, mode, input),
    { body: generationModel(mode, model) }
  ))
}

/** Answers one generation request; `shape` says how the flavour words its answer. */
export async function answerGeneration (
  server: ServerProcess, mode: Mode, input: RouteInput, shape: AnswerShape = {}
): Promise<Answer> {
  const { machine } = server
  const sent = typeof input.json === 'object' && input.json !== null ? Object.keys(input.json) : []
  const given = input.body as unknown as GenerationRequest
  if (machine.settings.family === 'forge') tripOverStyles(given, sent)
  const request = applyInfotext(given, sent, server.options)
  const header = input.headers['x-simulator-fault']
  const faults = machine.faults.draw(request.prompt ?? '', readFaultText(typeof header === 'string' ? header : undefined))
  machine.records.countSend(request.force_task_id)
  strikeOnArrival(server, faults)
  const away = faults.get('proxy-away')
  if (away !== undefined) machine.faults.goAway(away.count ?? 5)
  const page = pageInPlace(faults)
  if (page !== null) return page
  const made = makeAnswer(server, mode, request, { faults, shape })
  const impatient = faults.get('gateway-timeout') ?? faults.get('connection-cut')
  if (impatient === undefined) return await made
  // the job goes on behind the proxy, and nobody hears of its end
  made.catch(() => undefined)
  const late = giveUp(server, impatient)
  return (impatient.afterMilliseconds ?? 0) === 0 ? await late : await Promise.race([made, late])
}

/** What something in front of the server answers without asking it; null where nothing does. */
function pageInPlace (faults: StruckFaults): Answer | null {
  if (faults.has('bad-gateway') || faults.has('proxy-away')) return proxyPage(502)
  const forbidden = faults.get('forbidden')
  if (forbidden !== undefined) return proxyPage(forbidden.status ?? 403)
  const redirect = faults.get('login-redirect')
  if (redirect !== undefined) return proxyPage(redirect.status ?? 302, { location: '/login?next=/' })
  return faults.has('html-answer') ? proxyPage(200) : null
}

/** Rejects as where a process dies: nobody gets an answer on that connection. */
async function giveUp (server: ServerProcess, { kind, afterMilliseconds, status }: Fault): Promise<Answer> {
  await wait(afterMilliseconds ?? 0, server.life)
  if (kind === 'connection-cut') throw new ProcessDied()
  return proxyPage(status ?? 504)
}

async function makeAnswer (
  server: ServerProcess, mode: Mode, request: GenerationRequest,
  how: { readonly faults: StruckFaults, readonly shape: AnswerShape }
): Promise<Answer> {
  const { faults, shape } = how
  const generation = await takeUp(server, request, mode, faults)
  const json = await writeAnswer(server, request, generation, { faults, ...shape })
  crashBy(server, faults.get('crash-after'))
  if (server.life.aborted) throw new ProcessDied()
  const body = faults.has('truncated-json') ? json.subarray(0, Math.floor(json.length / 2)) : json
  return createAnswer(200, 'application/json', body, faults.has('cut-body') ? 'cut' : 'whole')
}

/** What counts as under way ends with the generation: from then on the server says that the task is over. */
async function takeUp (
  server: ServerProcess, request: GenerationRequest, mode: Mode, faults: StruckFaults
): Promise<Generation> {
  const leave = server.machine.records.enter(request.force_task_id)
  try {
    return await generate(server, request, mode, faults)
  } finally {
    leave()
  }
}
