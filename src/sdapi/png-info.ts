import { ServiceError } from '../errors.ts'
import { Base64Fault, decodeBase64 } from '../media/base64.ts'
import { readGenerationText } from '../media/generation-text.ts'
import { imageFormatOf } from '../media/image-header.ts'
import { readPastedParameters } from '../simulator/generation/pasted-parameters.ts'

/** What A1111 answers to POST /png-info. */
export interface PngInfo {
  readonly info: string
  readonly items: Readonly<Record<string, string>>
  readonly parameters: Readonly<Record<string, unknown>>
}

/**
 * Reads the text in a picture, here and without a server; A1111's other items, which no client reads, are left out.
 * @param image base64 or data URL
 * @throws ServiceError `invalid_image`
 */
export async function readPngInfo (image: string): Promise<PngInfo> {
  const info = await readGenerationText(await bytesOf(image)) ?? ''
  return { info, items: {}, parameters: readPastedParameters(info) }
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
