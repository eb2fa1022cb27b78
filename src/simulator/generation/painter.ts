import type { ControlNet } from '../controlnet/units.ts'
import { drawLandscape, type Scene } from '../images/landscape.ts'
import { arrangeGrid, createBitmap, paste, type Bitmap } from '../images/pixels.ts'
import { encodePng } from '../images/png.ts'
import type { RegionalPrompter } from '../regional.ts'
import type { Plan } from './plan.ts'

interface Blend {
  /** 0 keeps the start, 1 replaces it. */
  readonly strength: number
  /** Of the same size; white if the start can change. */
  readonly mask: Bitmap | null
}

/** The result of img2img: the start, repainted by the denoising strength within the mask. */
function blend (start: Bitmap, drawn: Bitmap, { strength, mask }: Blend): Bitmap {
  const result = createBitmap(start.width, start.height)
  for (let index = 0; index < result.data.length; index += 1) {
    const allowed = mask === null ? 1 : (mask.data[index] as number) / 255
    const from = start.data[index] as number
    result.data[index] = from + ((drawn.data[index] as number) - from) * strength * allowed
  }
  return result
}

/** An image of random bytes that no codec can compress, for tests with big answers; seeded like any other. */
function drawNoise (width: number, height: number, seed: number): Bitmap {
  const bitmap = createBitmap(width, height)
  let state = (seed ^ 0x9E3779B9) >>> 0 || 1
  const { data } = bitmap
  for (let index = 0; index < data.length; index += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    data[index] = state & 255
  }
  return bitmap
}

/** Start images of img2img, already in the size of the job. */
export interface InitImages {
  readonly bitmaps: readonly Bitmap[]
  /** White for pixels that can change. */
  readonly mask: Bitmap | null
}

interface Size { readonly width: number, readonly height: number }

/** Effects of extensions on images. */
export interface Effects {
  readonly regionsOf: RegionalPrompter['regionsOf']
  readonly control: ControlNet['apply']
}

/** Generates the images of one iteration. */
export interface Painter {
  /** All images of the batch, with so much noise left in them (0 to 1). */
  paint (size: Size, noise: number): Promise<Bitmap[]>
  /** A quarter of the size, side by side, as PNG. */
  preview (size: Size, noise: number): Promise<Buffer>
}

export function createPainter (
  plan: Plan,
  context: {
    readonly model: string
    readonly iteration: number
    readonly init: InitImages | null
    readonly effects: Effects
    readonly isNoise: boolean
  }
): Painter {
  const { model, iteration, init, effects, isNoise } = context
  const indexes = Array.from({ length: plan.batchSize }, (_, index) => iteration * plan.batchSize + index)

  /** A landscape of its own in each region. */
  async function drawScene (scene: Scene): Promise<Bitmap> {
    const divided = effects.regionsOf(scene.prompt)
    if (divided === null) return await drawLandscape(scene)
    const whole = createBitmap(scene.width, scene.height)
    for (const { box, prompt } of divided) {
      const left = Math.round(box.left * scene.width)
      const top = Math.round(box.top * scene.height)
      const width = Math.round(box.right * scene.width) - left
      const height = Math.round(box.bottom * scene.height) - top
      if (width > 0 && height > 0) paste(whole, await drawLandscape({ ...scene, prompt, width, height }), left, top)
    }
    return whole
  }

  async function paintOne (index: number, size: Size, noise: number): Promise<Bitmap> {
    const seed = seedOf(plan, index)
    if (isNoise) return drawNoise(size.width, size.height, seed)
    const prompt = plan.prompts[index] ?? ''
    const drawn = await drawScene({ ...size, prompt, seed, model, noise })
    const start = init?.bitmaps[index % init.bitmaps.length]
    if (init === null || start === undefined) return drawn
    const how: Blend = { strength: plan.denoisingStrength ?? 0.75, mask: init.mask }
    return blend(start, drawn, how)
  }

  async function paint (size: Size, noise: number): Promise<Bitmap[]> {
    const bitmaps: Bitmap[] = []
    for (const index of indexes) bitmaps.push(effects.control(await paintOne(index, size, noise)))
    return bitmaps
  }

  return {
    paint,
    async preview (size, noise) {
      const small = { width: Math.max(1, size.width / 4), height: Math.max(1, size.height / 4) }
      const bitmaps: Bitmap[] = []
      for (const index of indexes) {
        const scene = { ...small, prompt: plan.prompts[index] ?? '', seed: seedOf(plan, index), model, noise }
        bitmaps.push(await drawScene(scene))
      }
      return await encodePng(arrangeGrid(bitmaps))
    }
  }
}

/** A variation is another image of the same seed. */
function seedOf (plan: Plan, index: number): number {
  const [seed, subseed] = [plan.seeds[index] ?? 0, plan.subseeds[index] ?? 0]
  const mixed = plan.subseedStrength === 0 ? BigInt(seed) : BigInt(seed) + BigInt(subseed) * 7919n
  return Number(BigInt.asUintN(32, mixed ^ (mixed >> 32n)))
}
