import { readImage } from '../media/read-parameters.ts'
import { readPastedParameters } from '../simulator/generation/pasted-parameters.ts'

/** What A1111 answers to POST /png-info. */
export interface PngInfo {
  readonly info: string
  readonly items: Readonly<Record<string, string>>
  readonly parameters: Readonly<Record<string, unknown>>
}

/**
 * Reads the text in a picture, here and without a server. What other programs wrote comes in A1111's form; of A1111's
 * other items, which no client reads, there is only what could not be read.
 * @param image base64 or data URL
 * @throws ServiceError `invalid_image`
 */
export async function readPngInfo (image: string): Promise<PngInfo> {
  const { text: info, notes } = await readImage(image)
  return { info, items: notes.length === 0 ? {} : { notes: notes.join(' ') }, parameters: readPastedParameters(info) }
}
