import { readForeignText, type GenerationText } from '../a1111/foreign/read-texts.ts'
import { parseInfotext, type Infotext } from '../a1111/infotext.ts'
import { toParameters } from '../a1111/infotext-parameters.ts'
import { ServiceError } from '../errors.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import { readGeneration } from './generation-text.ts'
import { isReadable, kindOf, readableKinds } from './picture-kinds.ts'

const nothing: GenerationText = { source: null, text: '', infotext: null, notes: [] }

/**
 * What a picture says about its generation, whichever program wrote it.
 * @param image base64 or data URL
 * @throws ServiceError `invalid_image`
 */
export async function readImage (image: string): Promise<GenerationText> {
  return await readGeneration(await bytesOf(image)) ?? nothing
}

/** The same for a text: A1111's own, or the JSON of another program. */
export function readText (text: string): GenerationText {
  if (text.trim() === '') return nothing
  return readForeignText(text) ?? { source: 'A1111', text, infotext: parseInfotext(text), notes: [] }
}

/** An infotext as fields of a submission; none where there is none. */
export function parametersOf (infotext: Infotext | null): Record<string, unknown> {
  if (infotext === null) return {}
  const { override_settings: settings, ...parameters } = toParameters(infotext)
  const hasSettings = typeof settings === 'object' && settings !== null && Object.keys(settings).length > 0
  return hasSettings ? { ...parameters, override_settings: settings } : parameters
}

async function bytesOf (image: string): Promise<Buffer> {
  try {
    const bytes = await decodeBase64(image.trim().replace(/^data:[^,]{0,256},/, ''))
    if (isReadable(kindOf(bytes.subarray(0, 64)))) return bytes
  } catch (error) {
    if (!(error instanceof Base64Fault)) throw error
  }
  throw new ServiceError('invalid_image', `image must be a ${readableKinds} as base64.`, { field: 'image' })
}
