import { Type } from '@sinclair/typebox'
import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Compatibility, CheckedServer, ResolveName } from './resolve.ts'
import { fieldRules, invalidField, isRecord, picked, readValue } from './field-values.ts'
import { refuseImageAddresses } from './images.ts'
import { rulesOf } from './kinds/registry.ts'
import { findListed } from './names.ts'
import type { NormalisedParameters } from './parameters.ts'

/**
 * A1111's work on finished images, in the words of its API (`ExtrasBaseRequest` of 1.10): enlarge them by one or two
 * upscalers, and restore faces.
 */
const ExtrasParameters = Type.Object({
  init_images: Type.Array(Type.String(), { maxItems: 16 }),
  resize_mode: Type.Integer({ minimum: 0, maximum: 1 }),
  upscaling_resize: Type.Number({ minimum: 1, maximum: 8 }),
  upscaling_resize_w: Type.Integer({ minimum: 1, maximum: 16_384 }),
  upscaling_resize_h: Type.Integer({ minimum: 1, maximum: 16_384 }),
  upscaling_crop: Type.Boolean(),
  upscaler_1: Type.String({ maxLength: 1000 }),
  upscaler_2: Type.String({ maxLength: 1000 }),
  extras_upscaler_2_visibility: Type.Number({ minimum: 0, maximum: 1 }),
  gfpgan_visibility: Type.Number({ minimum: 0, maximum: 1 }),
  codeformer_visibility: Type.Number({ minimum: 0, maximum: 1 }),
  codeformer_weight: Type.Number({ minimum: 0, maximum: 1 }),
  upscale_first: Type.Boolean()
})
const rules = fieldRules(ExtrasParameters)
const sentAlong = Object.keys(ExtrasParameters.properties).filter(name => name !== 'init_images')
const noUpscaler = 'None'
/** Default upscalers, the first that the server has; the last is A1111's own and always exists. */
const defaultUpscalers = ['R-ESRGAN 4x+', 'RealESRGAN_x4plus', 'ESRGAN_4x', 'Lanczos']

/**
 * Reads the requested work on images.
 * @throws ServiceError `invalid_field_value`, `missing_required_field` or `unsupported_parameter`, naming the field
 */
export function normaliseExtras (given: unknown): NormalisedParameters {
  if (!isRecord(given)) throw invalidField('generation_params', name => `${name} must be an object.`)
  const read = Object.fromEntries([...rules].flatMap(([name, rule]) =>
    given[name] === undefined || given[name] === null ? [] : [[name, readValue(name, given[name], rule)]]))
  const images = Array.isArray(read.init_images) ? read.init_images as unknown[] : []
  if (images.length === 0) {
    throw new ServiceError('missing_required_field', 'Enlarging needs a picture in init_images.', { field: 'init_images' })
  }
  refuseImageAddresses(read)
  // One image is expected for each image sent.
  return { mode: 'extras', parameters: { ...read, batch_size: images.length }, checkpoint: null, hints: {}, warnings: [] }
}

/**
 * The same with the server's own names of upscalers.
 * @throws ServiceError `model_not_found`, or `server_capability` where a server has no extras
 */
export function checkExtras (
  parameters: A1111Parameters, { inventory, traits }: CheckedServer, resolve: ResolveName
): Omit<Compatibility, 'warnings'> {
  if (!rulesOf(traits).offersExtras) throw noExtras()
  const known = [...new Set([noUpscaler, ...inventory.upscalers])]
  const usual = defaultUpscalers.find(name => findListed(name, known) !== null) ?? noUpscaler
  const asked = { upscaler_1: usual, ...parameters }
  const names = Object.entries(asked).flatMap(([field, wanted]: [string, unknown]) => {
    if (!/^upscaler_[12]$/.test(field) || typeof wanted !== 'string' || inventory.missing.includes('upscalers')) return []
    const find = () => findListed(wanted, known)
    const found = resolve({ wanted, field, code: 'model_not_found', noun: 'upscaler', find, candidates: () => known })
    return [[field, found ?? noUpscaler]]
  })
  return { parameters: { ...asked, ...Object.fromEntries(names) as object }, checkpointTitle: null }
}

export function noExtras (): ServiceError {
  return new ServiceError('server_capability', 'This server cannot enlarge finished pictures.', { field: 'init_images' })
}

/** The object to POST to `/sdapi/v1/extra-batch-images`. */
export function extrasPayload (parameters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const images = Array.isArray(parameters.init_images) ? parameters.init_images as unknown[] : []
  return {
    ...picked(parameters, sentAlong),
    show_extras_results: false,
    imageList: images.map((data, index) => ({ data, name: `${index}.png` }))
  }
}
