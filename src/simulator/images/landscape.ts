import { setImmediate as nextTurn } from 'node:timers/promises'
import { createRandom, hashText, type Random } from '../random.ts'
import { createBitmap, type Bitmap } from './pixels.ts'

/** Smooth noise along a line, 0 to 1, the same for the same random source. */
function createLineNoise (random: Random): (position: number) => number {
  const values = fill(256, random)
  return position => {
    const cell = Math.floor(position)
    const share = position - cell
    const smooth = share * share * (3 - 2 * share)
    const left = values[cell & 255] as number
    const right = values[(cell + 1) & 255] as number
    return left + (right - left) * smooth
  }
}

/** Several octaves of line noise, 0 to about 1: mountains. */
function fractal (noise: (position: number) => number, position: number, octaves: number): number {
  let sum = 0
  let weight = 0.5
  for (let octave = 0; octave < octaves; octave += 1) {
    sum += noise(position * 2 ** octave + octave * 37) * weight
    weight /= 2
  }
  return sum
}

/** Smooth noise over a field, 0 to 1: clouds. */
function createFieldNoise (random: Random): (x: number, y: number) => number {
  const values = fill(1024, random)
  const at = (x: number, y: number): number => values[((y & 31) << 5) | (x & 31)] as number
  return (x, y) => {
    const column = Math.floor(x)
    const row = Math.floor(y)
    const right = smooth(x - column)
    const down = smooth(y - row)
    const upper = at(column, row) * (1 - right) + at(column + 1, row) * right
    const lower = at(column, row + 1) * (1 - right) + at(column + 1, row + 1) * right
    return upper * (1 - down) + lower * down
  }
}

function fill (length: number, random: Random): Float32Array {
  const values = new Float32Array(length)
  for (let index = 0; index < length; index += 1) values[index] = random()
  return values
}

function smooth (share: number): number {
  return share * share * (3 - 2 * share)
}

type Colour = readonly [red: number, green: number, blue: number]

/** The colours of one landscape, 0 to 255 each. */
interface Palette {
  readonly skyTop: Colour
  readonly skyBottom: Colour
  readonly sun: Colour
  readonly far: Colour
  readonly near: Colour
  readonly stars: boolean
}

interface Mood { readonly words: readonly string[], readonly palette: Palette }

function mood (
  words: string, colours: readonly [Colour, Colour, Colour, Colour, Colour], stars = 'none'
): Mood {
  const [skyTop, skyBottom, sun, far, near] = colours
  return { words: words.split(' '), palette: { skyTop, skyBottom, sun, far, near, stars: stars === 'stars' } }
}

const moods: readonly Mood[] = [
  mood('dusk sunset evening warm lighthouse gold',
    [[44, 28, 84], [250, 150, 92], [255, 236, 180], [168, 84, 120], [26, 14, 40]]),
  mood('night moon stars dark space galaxy cyberpunk neon',
    [[6, 8, 30], [48, 44, 110], [236, 240, 255], [44, 40, 96], [6, 6, 18]], 'stars'),
  mood('forest green jungle tree garden spring nature',
    [[96, 164, 190], [226, 240, 204], [255, 250, 214], [112, 160, 130], [14, 44, 30]]),
  mood('sea ocean beach water lake blue sky',
    [[24, 92, 168], [174, 222, 240], [255, 252, 232], [84, 140, 184], [10, 40, 70]]),
  mood('snow winter ice mountain white cold',
    [[116, 150, 190], [240, 244, 250], [255, 255, 255], [176, 194, 216], [70, 90, 120]]),
  mood('desert sand dune canyon mars rock',
    [[226, 150, 84], [252, 222, 160], [255, 248, 220], [206, 126, 78], [92, 38, 24]]),
  mood('dawn morning pink cherry blossom portrait woman girl',
    [[120, 132, 200], [252, 206, 206], [255, 240, 226], [176, 132, 172], [62, 40, 76]]),
  mood('storm rain fog grey city street man',
    [[60, 70, 84], [176, 184, 190], [226, 230, 232], [116, 126, 136], [28, 34, 42]]),
  mood('fire red lava dragon autumn fantasy castle',
    [[50, 10, 24], [236, 96, 40], [255, 214, 120], [140, 44, 38], [24, 8, 12]])
]

/** The palette that the words of a prompt suggest (or its hash, if they suggest none), tinted by the model. */
function choosePalette (prompt: string, model: string): Palette {
  const words = new Set(prompt.toLowerCase().match(/[a-z]+/g) ?? [])
  const suggested = moods.find(one => one.words.some(word => words.has(word)))
  const { palette } = suggested ?? moods[hashText(prompt) % moods.length] as Mood
  const random = createRandom(hashText(model))
  const tint: Colour = [random() * 36 - 18, random() * 36 - 18, random() * 36 - 18]
  const shade = (colour: Colour): Colour => [
    clamp(colour[0] + tint[0]), clamp(colour[1] + tint[1]), clamp(colour[2] + tint[2])
  ]
  return {
    skyTop: shade(palette.skyTop),
    skyBottom: shade(palette.skyBottom),
    sun: palette.sun,
    far: shade(palette.far),
    near: shade(palette.near),
    stars: palette.stars
  }
}

/** The colour so far (0 to 1) between two. */
function mix (from: Colour, to: Colour, share: number): Colour {
  return [
    from[0] + (to[0] - from[0]) * share,
    from[1] + (to[1] - from[1]) * share,
    from[2] + (to[2] - from[2]) * share
  ]
}

function clamp (value: number): number {
  return Math.min(255, Math.max(0, value))
}

/** The inputs of an image; the same scene always gives the same pixels. */
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

/** Time of drawing rows before other work can run, in milliseconds. */
const sliceMilliseconds = 4

/**
 * Draws mountains under a sky, whose mood follows the words of the prompt and whose shapes follow the seed.
 * Coordinates are relative, so the same scene in another size shows the same landscape. Works in slices, so
 * that the event loop stays free for progress polls.
 */
export async function drawLandscape (scene: Scene): Promise<Bitmap> {
  const { width, height } = scene
  const random = createRandom(hashText(`${scene.prompt}\n${scene.seed}\n${scene.model}`))
  const palette = choosePalette(scene.prompt, scene.model)
  const sky = createSky(scene, palette, random)
  const ridges = createRidges(scene, palette, random)
  const bitmap = createBitmap(width, height)
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
        bitmap.data[offset + channel] = value < 0 ? 0 : value > 255 ? 255 : value
      }
    }
    if (performance.now() < sliceEnd) continue
    await nextTurn()
    sliceEnd = performance.now() + sliceMilliseconds
  }
  return bitmap
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
