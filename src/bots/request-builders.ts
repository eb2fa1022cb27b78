import {
  BotControlNetRequest, type BotControlNetUnit, BotFaceRestoreRequest, BotImg2imgRequest,
  BotInpaintRequest, BotOutpaintRequest, BotRegionalRequest, BotTxt2imgRequest, BotUpscaleRequest
} from '../../schemas/bots-generation.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { invalidField, isRecord } from '../a1111/field-values.ts'
import { ValidationFailure } from '../fastapi/errors.ts'
import { pydantic2 } from '../fastapi/pydantic2.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import { controlNetUnits, type RequestImages } from './controlnet.ts'
import { checkEnlargement, faceParameters, type FinishedImages, upscaleParameters } from './finished.ts'
import { defaultPixels, widened } from './outpaint.ts'
import {
  hiresParameters, imageParameters, loraTags, type Said, says, sizeParameters, defaultParameters
} from './parameters.ts'
import type { ImageReader, RequestImage, Size } from './images.ts'
import { readFields, validationDetail } from './read-fields.ts'
import { regionalScript } from './regional.ts'
import type { CompleteRequest, GenerationKind } from './request.ts'
import { maxUnits } from './sessions.ts'

type Given = Readonly<Record<string, unknown>>

/** The submission for a request. */
export interface Plan {
  readonly given: Given
  readonly warnings: readonly Warning[]
  /** The job processes finished images and generates none. */
  readonly work?: 'extras'
}

export interface BuilderSources {
  readonly imageReader: ImageReader
  readonly finished: FinishedImages
  /** Pixels of one image in its first pass. */
  readonly maxPixels: number
  /** Pixels of one upscaled image. */
  readonly maxEnlargedPixels: number
}

/** Turns a request of its kind into parameters of A1111. @throws ValidationFailure or ServiceError naming the field */
export type RequestBuilder = (request: CompleteRequest, sources: BuilderSources) => Promise<Plan>

export const requestBuilders: Readonly<Record<GenerationKind, RequestBuilder>> = {
  async txt2img (request, { maxPixels }) {
    const fields = readFields(BotTxt2imgRequest, request.said)
    const { size, warnings } = sizeParameters(fields, maxPixels)
    const given = { ...usual(fields, request), ...size, ...hiresParameters(fields), mode: 'txt2img' }
    return { given: withUnits(given, fields.controlnet_units, {}), warnings }
  },
  async img2img (request, sources) {
    return await fromImage(readFields(BotImg2imgRequest, request.said), request, sources)
  },
  async inpaint (request, sources) {
    const fields = readFields(BotInpaintRequest, request.said)
    needed(fields.mask, 'mask', request.said)
    return await fromImage(fields, request, sources)
  },
  async outpaint (request, { imageReader, maxPixels }) {
    const fields = readFields(BotOutpaintRequest, request.said)
    const bytes = await imageReader.open(needed(fields.image, 'image', request.said), 'image')
    const sides = {
      left: fields.outpaint_pixels_left,
      right: fields.outpaint_pixels_right,
      top: fields.outpaint_pixels_top,
      bottom: fields.outpaint_pixels_bottom
    }
    if (Object.values(sides).every(pixels => pixels === 0)) {
      throw invalidField('outpaint_pixels_right', 'Say how many pixels to add: outpaint_pixels_left, _right, _top or _bottom.')
    }
    const { width, height, ...wide } = await widened(bytes, sides, fields.mask_blur, Math.min(defaultPixels, maxPixels))
    const painted = imageParameters({
      ...fields,
      ...wide,
      resize_mode: 0,
      inpaint_full_res: false,
      inpaint_full_res_padding: 0,
      inpainting_mask_invert: 0
    })
    const given = { ...usual(fields, request), width, height, ...painted }
    const ofUnits = { image: wide.image, mask: wide.mask, startsFromImage: true }
    return { given: withUnits(given, fields.controlnet_units, ofUnits), warnings: [] }
  },
  async controlnet (request, sources) {
    const fields = readFields(BotControlNetRequest, request.said)
    const requestImages = { image: fields.image, images: unitImages(fields), mask: fields.mask }
    if (fields.init_image === null) {
      const { size, warnings } = sizeParameters(fields, sources.maxPixels)
      const given = { ...usual(fields, request), ...size, ...hiresParameters(fields), mode: 'txt2img' }
      return { given: withUnits(given, fields.controlnet_units, requestImages), warnings }
    }
    const { size, warnings } = await imageSize(fields.init_image, fields, request.said, sources)
    const given = {
      ...usual(fields, request),
      ...size,
      mode: 'img2img',
      init_images: [fields.init_image],
      denoising_strength: fields.denoising_strength
    }
    const units = withUnits(given, fields.controlnet_units, { ...requestImages, startsFromImage: true })
    return { given: units, warnings }
  },
  async regional (request, { maxPixels }) {
    const fields = readFields(BotRegionalRequest, request.said)
    const { size, warnings } = sizeParameters(fields, maxPixels)
    const regional = regionalScript({
      config: fields.regional_config,
      prompt: fields.prompt,
      negativePrompt: fields.negative_prompt,
      loras: request.loras.map(([name, weight]) => ({ name, weight }))
    })
    const given = withScript({
      ...defaultParameters(fields, request.said),
      prompt: regional.prompt,
      negative_prompt: regional.negativePrompt,
      ...size,
      ...hiresParameters(fields),
      mode: 'txt2img'
    }, regional.script.name, regional.script.args)
    return { given: withUnits(given, fields.controlnet_units, {}), warnings: [...warnings, ...regional.warnings] }
  },
  async upscale (request, { finished, imageReader, maxEnlargedPixels }) {
    const fields = readFields(BotUpscaleRequest, request.said)
    const images = await finished.find(fields, request.keyId)
    const sizes = await Promise.all(images.map(async image => await imageReader.sizeOf(image, 'image')))
    checkEnlargement(fields, sizes, maxEnlargedPixels)
    return { given: { ...upscaleParameters(fields), init_images: images }, warnings: [], work: 'extras' }
  },
  async 'face-restore' (request, { finished }) {
    const fields = readFields(BotFaceRestoreRequest, request.said)
    const images = await finished.find(fields, request.keyId)
    const given = { ...faceParameters(fields), upscaler_1: 'None', upscaling_resize: 1, init_images: images }
    return { given, warnings: [], work: 'extras' }
  }
}

/** The parameters that are the same for all kinds, LoRAs behind the prompt. */
function usual (fields: BotTxt2imgRequest, { said, loras }: CompleteRequest): Given {
  const prompt = [fields.prompt, loraTags(fields.prompt, loras)].filter(part => part !== '').join(' ')
  return { ...defaultParameters(fields, said), prompt }
}

async function fromImage (
  fields: BotImg2imgRequest, request: CompleteRequest, sources: BuilderSources
): Promise<Plan> {
  const image = needed(fields.image, 'image', request.said)
  const { size, warnings } = await imageSize(image, fields, request.said, sources)
  const given = { ...usual(fields, request), ...size, ...imageParameters(fields) }
  const requestImages = { image, mask: fields.mask, startsFromImage: true }
  return { given: withUnits(given, fields.controlnet_units, requestImages), warnings }
}

/** The requested size, else the image's own up to the size at which models work well. */
async function imageSize (image: RequestImage, asked: Size, said: Said, { imageReader, maxPixels }: BuilderSources) {
  const own = await imageReader.sizeOf(image, 'image')
  if (!says(said, 'width') && !says(said, 'height')) {
    return { size: sizeParameters(own, Math.min(defaultPixels, maxPixels)).size, warnings: [] }
  }
  const width = says(said, 'width') ? asked.width : asked.height * own.width / own.height
  const height = says(said, 'height') ? asked.height : asked.width * own.height / own.width
  return sizeParameters({ width, height }, maxPixels)
}

/** For each unit the image that is named after it, else the one at its position in the list. */
function unitImages (fields: BotControlNetRequest): Array<RequestImage | null> {
  const named = new Map(Object.entries(fields))
  return Array.from({ length: maxUnits }, (_, index) => {
    const own = named.get(`image${index}`)
    return typeof own === 'string' || isUploadedImage(own) ? own : fields.images?.[index] ?? null
  })
}

function withUnits (given: Given, units: readonly BotControlNetUnit[], requestImages: RequestImages): Given {
  const args = controlNetUnits(units, requestImages)
  return args.length === 0 ? given : withScript(given, 'ControlNet', args)
}

/** A script of ours replaces one with the same title, in whatever case the client wrote it. */
function withScript (given: Given, title: string, args: readonly unknown[]): Given {
  const scripts = isRecord(given.alwayson_scripts) ? given.alwayson_scripts : {}
  const others = Object.entries(scripts).filter(([name]) => name.toLowerCase() !== title.toLowerCase())
  return { ...given, alwayson_scripts: { ...Object.fromEntries(others), [title]: { args } } }
}

/** @throws ValidationFailure */
function needed (image: RequestImage | null, field: string, said: Said): RequestImage {
  if (image !== null) return image
  throw new ValidationFailure([validationDetail(['body', field], said, pydantic2.missing)])
}
