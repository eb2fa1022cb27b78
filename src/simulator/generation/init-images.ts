import { HttpException } from '../failures.ts'
import { decodeImage } from '../images/decode.ts'
import { readSource } from '../images/fetch.ts'
import type { ServerProcess } from '../server-process.ts'
import type { InitImages } from './painter.ts'
import { floor8 } from './plan.ts'
import type { GenerationRequest } from './request.ts'

/**
 * Decodes what img2img starts from. A1111 does it under the job lock but before the job begins, so that a
 * broken image leaves its task pending for ever.
 *
 * @throws HttpException 500 for what is no image, or for an address that may not be fetched
 */
export async function readInitImages (server: ServerProcess, request: GenerationRequest): Promise<InitImages> {
  const size = { width: Math.max(8, floor8(request.width)), height: Math.max(8, floor8(request.height)) }
  const read = async (image: unknown): Promise<Buffer> => {
    if (typeof image !== 'string') throw new HttpException(500, 'Invalid encoded image')
    return await readSource(server.options, image)
  }
  const pictures = []
  for (const image of request.init_images ?? []) pictures.push(await decodeImage(await read(image), size))
  const mask = request.mask ? await decodeImage(await read(request.mask), size) : null
  if (mask !== null && request.inpainting_mask_invert) {
    mask.data.forEach((value, index) => { mask.data[index] = 255 - value })
  }
  return { pictures, mask }
}
