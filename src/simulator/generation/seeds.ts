import { drawSeed, largestSeed, lowestTorchSeed, seedAfter, type Seed } from '../../a1111/seeds.ts'
import { PythonError } from '../failures.ts'
import type { GenerationRequest } from './request.ts'

/**
 * -1 and null become a random seed, everything else is taken literally. Each image of a request has the seed of
 * the one before plus 1, unless a variation strength makes it vary by the subseed alone.
 *
 * @throws PythonError for what PyTorch's generator does not take
 */
export function resolveSeeds (
  request: Pick<GenerationRequest, 'seed' | 'subseed' | 'subseed_strength'>, images: number
): { seeds: Seed[], subseeds: Seed[] } {
  const seed = fixed(request.seed)
  const subseed = fixed(request.subseed)
  const varies = (request.subseed_strength ?? 0) !== 0
  const seeds = Array.from({ length: images }, (_, index) => seedAfter(seed, varies ? 0 : index))
  const subseeds = Array.from({ length: images }, (_, index) => seedAfter(subseed, index))
  if ([...seeds, ...varies ? subseeds : []].some(used => used < lowestTorchSeed || used > largestSeed)) {
    throw new PythonError('RuntimeError', 'Overflow when unpacking long')
  }
  return { seeds, subseeds }
}

function fixed (seed: Seed | null): Seed {
  return seed === null || seed === -1 ? drawSeed(below => Math.floor(Math.random() * below)) : seed
}
