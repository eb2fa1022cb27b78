import { parseInfotext } from '../a1111/infotext.ts'
import { toParameters } from '../a1111/infotext-parameters.ts'
import { ServiceError } from '../errors.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import { readGenerationText } from './generation-text.ts'
import { imageFormatOf } from './image-header.ts'

/**
 * The text about its generation that a picture holds; empty where there is none.
 * @param image base64 or data URL
 * @throws ServiceError `invalid_image`
 */
export async function readTextOfImage (image: string): Promise<string> {
  return await readGenerationText(await bytesOf(image)) ?? ''
}

/** Generation parameters as A1111 writes them, as fields of a submission; none where there are none. */
export function readParameters (text: string): Record<string, unknown> {
  if (text.trim() === '') return {}
  const { override_settings: settings, ...parameters } = toParameters(parseInfotext(text))
  const hasSettings = typeof settings === 'object' && settings !== null && Object.keys(settings).length > 0
  return hasSettings ? { ...parameters, override_settings: settings } : parameters
}

async function bytesOf (image: string): Promise<Buffer> {
  try {
    const bytes = await decodeBase64(image.trim().replace(/^data:[^,]{0,256},/, ''))
    if (imageFormatOf(bytes.subarray(0, 32)) !== null) return bytes
  } catch (error) {
    if (!(error instanceof Base64Fault)) throw error
  }
  throw new ServiceError('invalid_image', 'image must be a PNG, JPEG or WebP as base64.', { field: 'image' })
}
