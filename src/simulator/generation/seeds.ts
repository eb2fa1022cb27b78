import type { GenerationRequest } from './request.ts'

/** How many seeds A1111 draws from. */
const seedCount = 4_294_967_294

/**
 * -1 and null become a random seed, everything else is taken literally. Each image of a request has the seed of
 * the one before plus 1, unless a variation strength makes it vary by the subseed alone.
 */
export function resolveSeeds (
  request: Pick<GenerationRequest, 'seed' | 'subseed' | 'subseed_strength'>, images: number
): { seeds: number[], subseeds: number[] } {
  const seed = fixed(request.seed)
  const subseed = fixed(request.subseed)
  const varies = (request.subseed_strength ?? 0) !== 0
  return {
    seeds: Array.from({ length: images }, (_, index) => seed + (varies ? 0 : index)),
    subseeds: Array.from({ length: images }, (_, index) => subseed + index)
  }
}

function fixed (seed: number | null): number {
  return seed === null || seed === -1 ? Math.floor(Math.random() * seedCount) : seed
}
