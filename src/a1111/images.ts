import { namesOf } from '../../schemas/a1111-fields.ts'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { withFloatsOf } from '../lib/exact-json.ts'
import { isMediaReference, isUploadedImage, type MediaReference, type UploadedImage } from '../lib/media-types.ts'
import { invalidField, isRecord } from './field-values.ts'

type Parameters = Readonly<Record<string, unknown>>

/** An image inside parameters. */
export interface ImageLocation {
  /** Keys and indexes that lead to it. */
  readonly path: ReadonlyArray<string | number>
  /** The same in dotted form, as errors name fields. */
  readonly field: string
  readonly image: string | MediaReference
}

/** Fields of the request that hold only images. */
const imageFields = new Set<string>(namesOf(A1111Parameters.properties, ({ isImage }) => isImage === true))
/** Keys of ControlNet units, at any depth of a script's arguments, that hold only images. */
const unitImageFields = new Set([
  'image', 'input_image', 'mask', 'mask_image', 'effective_region_mask', 'ipadapter_input', 'images'
])
/** Names of images in requests of bots. */
const botImageField = /^(?:file|init_image|images?(?:\d|\[\d\]))$/
/** Fields with arguments of scripts; those without a name can be images. */
const scriptFields = new Set(['alwayson_scripts', 'script_args'])
/** Base64 of the first bytes of PNG, JPEG, WebP (as RIFF), GIF, TIFF in both orders, BMP, and AVIF or HEIC. */
const base64Start =
  /^(?:iVBORw0KGgo|\/9j\/|UklGR|R0lGOD|SUkqA|TU0AK|Qk[0-3][\w+/]{5}AAAA|AAAA[\w+/]{2}Z0eX[ABC][\w+/])/
/** Shorter text is a word that begins like an image by chance. */
const shortestImage = 64

/** Calls the visitor with every image in the parameters, base64 or reference, in a fixed order. */
export function visitImages (parameters: Parameters, visitor: (place: ImageLocation) => void): void {
  for (const name of Object.keys(parameters)) {
    const value = parameters[name]
    const inImageField = imageFields.has(name)
    // Most values are numbers and texts that are no image.
    if (typeof value === 'object' || (typeof value === 'string' && (inImageField || looksLikeImage(value)))) {
      walk(value, [name], inImageField, visitor)
    }
  }
}

/**
 * @param inImageField whether every text below this path is an image; elsewhere only texts that look like one are
 */
function walk (
  value: unknown, path: ReadonlyArray<string | number>, inImageField: boolean, visitor: (place: ImageLocation) => void
): void {
  if (isMediaReference(value)) visitor({ path, field: path.join('.'), image: value })
  else if (typeof value === 'string') {
    if (value.trim() !== '' && (inImageField || looksLikeImage(value))) visitor({ path, field: path.join('.'), image: value })
  } else if (Array.isArray(value)) {
    value.forEach((item: unknown, index) => walk(item, [...path, index], inImageField, visitor))
  } else if (isRecord(value)) {
    for (const [key, item] of Object.entries(value)) {
      walk(item, [...path, key], inImageField || (path.length > 1 && unitImageFields.has(key)), visitor)
    }
  }
}

/** Whether an image belongs at this place of a request, in the words of any interface. */
export function isImagePlace (path: ReadonlyArray<string | number>): boolean {
  const names = path.filter(key => typeof key === 'string')
  return names.some(name => imageFields.has(name) || unitImageFields.has(name) || botImageField.test(name)) ||
    (typeof path.at(-1) === 'number' && names.some(name => scriptFields.has(name)))
}

/** Whether a dotted name belongs to a field that holds only images, or to a part of one. */
export function isImageLocation (field: string): boolean {
  return imageFields.has(field.split('.')[0] ?? '')
}

/** Whether a text begins like an image; its first 64 characters decide. */
export function looksLikeImage (text: string): boolean {
  if (text.length < shortestImage) return false
  const start = text.slice(0, shortestImage).trimStart()
  return /^data:image\//i.test(start) || base64Start.test(start)
}

/** Base64 in either alphabet; `//host/name` is an address without a scheme. */
const onlyBase64 = /^(?!\/\/)[a-z0-9+/_-]+=*$/i

/**
 * A1111 fetches addresses in image fields from inside its network, and its extensions read paths. Whether other text
 * really is an image is checked when it is stored.
 * @throws ServiceError `invalid_field_value` for an address or a path, or a reference that a client made up
 */
export function refuseImageAddresses (parameters: Parameters): void {
  visitImages(parameters, ({ field, image }) => {
    if (isUploadedImage(image)) return
    const start = typeof image === 'string' ? image.slice(0, 300).replace(/\s+/g, '') : ''
    if (/^data:image\//i.test(start) || onlyBase64.test(start)) return
    throw invalidField(field, name => `${name} must be base64 or a data URL of an image; this address or path is not fetched.`)
  })
}

/** The parameters with every image of the request replaced by a reference. Images are handled one after another. */
export async function replaceImages (
  parameters: Parameters, store: (image: string | UploadedImage, field: string) => Promise<MediaReference>
): Promise<Record<string, unknown>> {
  return await withImages(parameters, async ({ image, field }) =>
    typeof image === 'string' || isUploadedImage(image) ? await store(image, field) : image)
}

/** The parameters with every reference replaced by its image, as base64 or as a request has it. */
export async function insertImages (
  parameters: Parameters, load: (reference: MediaReference) => Promise<string | UploadedImage>
): Promise<Record<string, unknown>> {
  return await withImages(parameters, async ({ image }) => typeof image === 'string' ? image : await load(image))
}

async function withImages (parameters: Parameters, other: (place: ImageLocation) => Promise<unknown>) {
  const places: ImageLocation[] = []
  visitImages(parameters, place => places.push(place))
  let result: unknown = { ...parameters }
  for (const place of places) result = withValueAt(result, place.path, await other(place))
  return result as Record<string, unknown>
}

/** A copy that differs only at one path; everything off the path is shared with the original. */
function withValueAt (container: unknown, path: ReadonlyArray<string | number>, value: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return value
  const original = container as object
  const copy = withFloatsOf(original, Array.isArray(original) ? [...original as unknown[]] : { ...original })
  const below: unknown = Reflect.get(copy, key)
  Reflect.set(copy, key, withValueAt(below, rest, value))
  return copy
}
