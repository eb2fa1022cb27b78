import { readTextOfImage } from '../media/read-parameters.ts'
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
  const info = await readTextOfImage(image)
  return { info, items: {}, parameters: readPastedParameters(info) }
}
