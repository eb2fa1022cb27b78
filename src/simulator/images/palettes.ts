import { createRandom, hashText } from '../random.ts'

export type Colour = readonly [red: number, green: number, blue: number]

/** The colours of one landscape, 0 to 255 each. */
export interface Palette {
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

/** The palette that the words of a prompt suggest (or its hash, where they suggest none), tinted by the model. */
export function choosePalette (prompt: string, model: string): Palette {
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
export function mix (from: Colour, to: Colour, share: number): Colour {
  return [
    from[0] + (to[0] - from[0]) * share,
    from[1] + (to[1] - from[1]) * share,
    from[2] + (to[2] - from[2]) * share
  ]
}

function clamp (value: number): number {
  return Math.min(255, Math.max(0, value))
}
