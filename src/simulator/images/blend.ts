import { createPicture, type Picture } from './pixels.ts'

export interface Blend {
  /** 0 keeps the start, 1 replaces it. */
  readonly strength: number
  /** Of the same size; white where the start may change. */
  readonly mask: Picture | null
}

/** What img2img makes: the start, repainted as much as the denoising strength says and where the mask allows. */
export function blend (start: Picture, drawn: Picture, { strength, mask }: Blend): Picture {
  const result = createPicture(start.width, start.height)
  for (let index = 0; index < result.data.length; index += 1) {
    const allowed = mask === null ? 1 : (mask.data[index] as number) / 255
    const from = start.data[index] as number
    result.data[index] = from + ((drawn.data[index] as number) - from) * strength * allowed
  }
  return result
}
