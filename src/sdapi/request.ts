import { isRecord, isUnchosen, isUnset } from '../a1111/field-values.ts'
import { filledInImg2img } from '../a1111/infotext-parameters.ts'
import type { RequestModel } from '../a1111/kinds/kind.ts'
import { fileOptions, interfaceOptions, samplingOptions } from '../a1111/option-defaults.ts'
import { filledByInfotext, readPastedParameters, settingsOfInfotext } from '../a1111/pasted-parameters.ts'
import { generationModel } from '../a1111/request-model.ts'
import type { DrawingMode } from '../a1111/types.ts'
import { HttpException, PythonError } from '../fastapi/errors.ts'
import { readModel } from '../fastapi/model.ts'
import { pydantic1 } from '../fastapi/pydantic1.ts'
import { stringifyKeepingFloats, withFloatsOf } from '../lib/exact-json.ts'
import { fieldsOf, objectOf, textOf } from '../lib/json-values.ts'
import { isSeed, largestSeed, leavesRoom, lowestTorchSeed } from '../lib/seeds.ts'
import { readImage } from '../media/generation-text.ts'
import type { OwnOptions } from './options.ts'

/** A generation request as A1111 reads it. */
export interface GenerationCall {
  readonly mode: DrawingMode
  /** The submission. */
  readonly given: Readonly<Record<string, unknown>>
  /** JSON of the echo in `parameters` of the answer: the request with that model's defaults, without its images. */
  readonly echo: (model: RequestModel) => string
  readonly sendImages: boolean
  /** Fields that the client left to the server. */
  readonly unnamed: readonly string[]
  /** The client's name for it; the server gets the job's id instead. */
  readonly taskId: string | null
}

/** Fields for which servers have different defaults. */
const leftOpen = ['cfg_scale', 'width', 'height', 'steps', 'sampler_name']
/** Default sampler of A1111's API. */
const defaultSampler = 'Euler'
/** Longer texts are images, which the answer does not repeat; the same bound as for a server's own echo. */
const longestEcho = 65_536

/**
 * Reads a body by A1111's model: unknown fields are dropped, numbers can be text, defaults are those of its API (50
 * steps, Euler), which are not those of its interface.
 * @param options the client's values from POST /options; the request overrides them
 * @throws ValidationFailure, HttpException or PythonError, in A1111's words
 */
export function readGenerationCall (mode: DrawingMode, body: unknown, options: OwnOptions): GenerationCall {
  const all = readModel(pydantic1, generationModel(mode, 'forge'), withoutEmptyStyles(body))
  const sent = fieldsOf(body)
  refuseWhatFails(mode, all)
  const own = generationModel(mode, 'a1111')
  const isOwn = ([name]: [string, unknown]) => Object.hasOwn(own, name)
  const isSent = ([name]: [string, unknown]) => Object.hasOwn(sent, name)
  // An infotext fills the missing fields of the request, so defaults must not precede it.
  const hasInfotext = typeof all.infotext === 'string' && all.infotext.trim() !== ''
  const isFilled = ([name]: [string, unknown]) => hasInfotext && (mode === 'txt2img' || filledInImg2img.includes(name))
  const given = Object.entries(all).filter(field => isSent(field) || (isOwn(field) && !isFilled(field)))
  const text = hasInfotext ? String(all.infotext) : null
  const complete = { ...filled(all, Object.keys(sent), mode), ...overriddenBy(text, all.override_settings, options) }
  const shown = withoutImages(withFloatsOf(all, complete))
  return {
    mode,
    given: {
      ...Object.fromEntries(given),
      ...(isUnchosen(all.sampler_index) && !hasInfotext ? { sampler_index: defaultSampler } : {}),
      override_settings: { ...options, ...impliedBy(text), ...objectOf(all.override_settings) },
      mode
    },
    echo: model => stringifyKeepingFloats(model === 'forge'
      ? shown
      : withFloatsOf(shown, Object.fromEntries(Object.entries(shown).filter(field => isOwn(field) || isSent(field))))),
    sendImages: all.send_images === true,
    unnamed: leftOpen.filter(name => name === 'sampler_name'
      ? isUnchosen(sent.sampler_name) && isUnchosen(sent.sampler_index)
      : isUnset(sent[name])),
    taskId: textOf(all.force_task_id)
  }
}

/** Clients that build their list of styles from a menu send null if nothing was chosen. */
function withoutEmptyStyles (body: unknown): unknown {
  const { styles } = objectOf(body) ?? {}
  return Array.isArray(styles) && styles.includes(null)
    ? { ...objectOf(body), styles: styles.filter(style => style !== null) }
    : body
}

/** Certain failures, reported at once in A1111's words; the server judges all other values. */
function refuseWhatFails (mode: DrawingMode, fields: Readonly<Record<string, unknown>>): void {
  const { init_images: start, steps, seed, subseed, subseed_strength: strength } = fields
  if (mode === 'img2img' && start === null) throw new HttpException(404, 'Init image not found')
  const images = Number(fields.batch_size ?? 1) * Number(fields.n_iter ?? 1)
  if ([seed, subseed].some(value => isSeed(value) && (value < lowestTorchSeed || value > largestSeed)) ||
    (isSeed(seed) && images >= 1 && Number(strength ?? 0) === 0 && !leavesRoom(seed, images))) {
    throw new PythonError('RuntimeError', 'Overflow when unpacking long')
  }
  if (steps === 0) throw new PythonError('ZeroDivisionError', 'integer division or modulo by zero')
}

/** Adds the values of an infotext, as A1111 echoes them. Skips unreadable ones, which the submission reports. */
function filled (fields: Readonly<Record<string, unknown>>, sent: readonly string[], mode: DrawingMode) {
  try {
    return filledByInfotext(fields, sent, mode)
  } catch (error) {
    if (error instanceof PythonError) return fields
    throw error
  }
}

/**
 * Values that every infotext sets, even by omission: without them, a server with other settings generates another
 * image.
 */
function impliedBy (infotext: string | null): Record<string, unknown> {
  if (infotext === null) return {}
  const { 'Clip skip': clipSkip, RNG: source } = readPastedParameters(infotext)
  return { CLIP_stop_at_last_layers: Number(clipSkip), randn_source: source }
}

const defaultOptions: Readonly<Record<string, unknown>> = { ...fileOptions, ...samplingOptions, ...interfaceOptions }

/** The overrides as A1111 echoes them: the request's, and those of the infotext that differ from the defaults. */
function overriddenBy (infotext: string | null, asked: unknown, options: OwnOptions): Record<string, unknown> {
  if (infotext === null) return {}
  const defaultsOfText = settingsOfInfotext(infotext, key => options[key] ?? defaultOptions[key])
  return { override_settings: { ...defaultsOfText, ...objectOf(asked) } }
}

/** The part of the request that is echoed. Images are left out. */
function withoutImages (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const isWhole = fields.include_init_images === true
  const withImages = fields.init_images === undefined || isWhole
  const shown = withImages ? fields : withFloatsOf(fields, { ...fields, init_images: null, mask: null })
  return isWhole ? shown : withoutLongTexts(shown) as Readonly<Record<string, unknown>>
}

function withoutLongTexts (value: unknown): unknown {
  if (typeof value === 'string') return value.length > longestEcho ? null : value
  if (Array.isArray(value)) return withFloatsOf(value, value.map(withoutLongTexts))
  if (!isRecord(value)) return value
  const fields = Object.entries(value).map(([name, one]) => [name, withoutLongTexts(one)])
  return withFloatsOf(value, Object.fromEntries(fields) as Record<string, unknown>)
}

/** What A1111 answers to POST /png-info. */
export interface PngInfo {
  readonly info: string
  readonly items: Readonly<Record<string, string>>
  readonly parameters: Readonly<Record<string, unknown>>
}

/**
 * Reads the text in an image, here and without a server. Texts of other programs come in A1111's form; of A1111's other
 * items, which no client reads, there are only the unreadable parts.
 * @param image base64 or data URL
 * @throws ServiceError `invalid_image`
 */
export async function readPngInfo (image: string): Promise<PngInfo> {
  const { text: info, notes } = await readImage(image)
  return { info, items: notes.length === 0 ? {} : { notes: notes.join(' ') }, parameters: readPastedParameters(info) }
}
