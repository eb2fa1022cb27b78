import type { Size } from './pictures.ts'

/** Models and VAEs know no finer steps. */
const step = 8
const least = 64

/** Pixels up to which models draw well at once; a picture that nobody named a size for is made no larger. */
export const usualPixels = 1216 * 1216

/** The size, made smaller in its own proportions where it has more pixels than allowed, in steps of 8. */
export function fitted ({ width, height }: Size, mostPixels: number): Size {
  const scale = Math.min(1, Math.sqrt(mostPixels / (width * height)))
  return { width: inSteps(width * scale), height: inSteps(height * scale) }
}

function inSteps (pixels: number): number {
  return Math.max(least, Math.floor(pixels / step) * step)
}
