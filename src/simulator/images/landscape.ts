import { setImmediate as nextTurn } from 'node:timers/promises'
import { createRandom, hashText, type Random } from '../random.ts'
import { createFieldNoise, createLineNoise, fractal } from './noise.ts'
import { choosePalette, mix, type Colour, type Palette } from './palettes.ts'
import { createPicture, type Picture } from './pixels.ts'

/** What decides over a picture; the same scene always gives the same pixels. */
export interface Scene {
  readonly prompt: string
  readonly seed: number
  readonly model: string
  readonly width: number
  readonly height: number
  /** How much noise is still in it: 0 finished, 1 nothing but noise. */
  readonly noise: number
}

/** The colour so far between two; cheaper than a colour of its own for each pixel. */
interface Shade { readonly from: Colour, readonly to: Colour, readonly share: number }

interface Ridge { readonly tops: Float32Array, readonly colour: Colour, readonly foot: Colour }

/** How long rows are drawn before others get their turn, in milliseconds. */
const sliceMilliseconds = 4

/**
 * Draws mountains under a sky, whose mood follows the words of the prompt and whose shapes follow the seed.
 * Coordinates are relative, so the same scene in another size shows the same landscape. Works in slices, so
 * that the event loop stays free for progress polls.
 */
export async function drawLandscape (scene: Scene): Promise<Picture> {
  const { width, height } = scene
  const random = createRandom(hashText(`${scene.prompt}\n${scene.seed}\n${scene.model}`))
  const palette = choosePalette(scene.prompt, scene.model)
  const sky = createSky(scene, palette, random)
  const ridges = createRidges(scene, palette, random)
  const picture = createPicture(width, height)
  const grain = createRandom(hashText(`${scene.seed} grain`))
  const roughness = 3 + scene.noise * 320
  const clarity = 1 - scene.noise * 0.75
  let sliceEnd = performance.now() + sliceMilliseconds

  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const { from, to, share } = shadeAt(ridges, sky, x, y, height)
      const offset = (y * width + x) * 3
      const speck = (grain() - 0.5) * roughness
      for (let channel = 0; channel < 3; channel += 1) {
        const start = from[channel] as number
        const value = 128 + (start + ((to[channel] as number) - start) * share - 128) * clarity + speck
        picture.data[offset + channel] = value < 0 ? 0 : value > 255 ? 255 : value
      }
    }
    if (performance.now() < sliceEnd) continue
    await nextTurn()
    sliceEnd = performance.now() + sliceMilliseconds
  }
  return picture
}

function shadeAt (
  ridges: readonly Ridge[], sky: (x: number, y: number) => Shade, x: number, y: number, height: number
): Shade {
  for (const { tops, colour, foot } of ridges) {
    const top = tops[x] as number
    if (y >= top) return { from: colour, to: foot, share: Math.min(1, (y - top) / (height * 0.35)) }
  }
  return sky(x, y)
}

function createSky (scene: Scene, palette: Palette, random: Random): (x: number, y: number) => Shade {
  const { width, height } = scene
  const sunX = (0.2 + random() * 0.6) * width
  const sunY = (0.15 + random() * 0.35) * height
  const radius = (0.035 + random() * 0.04) * Math.min(width, height)
  const clouds = createFieldNoise(random)
  const stars = palette.stars ? createFieldNoise(createRandom(scene.seed >>> 0)) : null
  const rows = Array.from({ length: height }, (_, y) =>
    mix(palette.skyTop, palette.skyBottom, Math.min(1, y / (height * 0.7))))
  return (x, y) => {
    const from = rows[y] as Colour
    const to = palette.sun
    const distance = Math.hypot(x - sunX, y - sunY)
    if (distance < radius) return { from, to, share: 1 }
    const glow = Math.min(0.85, (radius * 1.6 / (distance + radius)) ** 1.7)
    const across = x / width
    const down = y / height
    const cloud = clouds(across * 5, down * 14) * 0.65 + clouds(across * 13 + 7, down * 34) * 0.35
    const veil = Math.max(0, cloud - 0.5) * 1.1
    const star = stars !== null && down < 0.6 && stars(across * 61, down * 61) > 0.965 ? 0.8 : 0
    return { from, to, share: Math.min(1, glow + veil + star) }
  }
}

/** Nearest first, since the nearest one hides the others. */
function createRidges (scene: Scene, palette: Palette, random: Random): Ridge[] {
  const { width, height } = scene
  const count = 4 + Math.floor(random() * 3)
  return Array.from({ length: count }, (_, index) => {
    const depth = index / (count - 1)
    const noise = createLineNoise(random)
    const stretch = 1.5 + depth * 2 + random() * 2
    const rise = 0.14 + random() * 0.2
    const base = 0.48 + depth * 0.4
    const trees = depth === 1 ? createLineNoise(random) : null
    const tops = Float32Array.from({ length: width }, (_, x) => {
      const across = x / width
      const mountain = fractal(noise, across * stretch + 3, 7) - 0.5
      const tree = trees === null ? 0 : Math.abs(trees(across * 90) - 0.5) * 0.06 * trees(across * 6)
      return (base - mountain * rise * 1.6 - tree) * height
    })
    const colour = mix(palette.far, palette.near, depth)
    return { tops, colour, foot: mix(colour, palette.skyBottom, 0.45 * (1 - depth)) }
  }).reverse()
}
