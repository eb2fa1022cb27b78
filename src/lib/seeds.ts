import { narrowInteger } from './exact-json.ts'

/** A number if that is exact, else a bigint: random generators take 64 bits. */
export type Seed = number | bigint

export const largestSeed = 2n ** 64n - 1n
/** PyTorch takes seeds from here on; A1111 generates one for -1. */
export const lowestTorchSeed = -(2n ** 63n)
/** Seeds that A1111 generates itself are below this. */
const randomSeeds = 4_294_967_294
/** No real seed has more digits, and a text of a million is slow to read. */
const maxDigits = 400

/** @param random a whole number from 0 to below its argument */
export function randomSeed (random: (below: number) => number): number {
  return random(randomSeeds)
}

/** The whole number of a value in any spelling; undefined for any other value. */
export function readInteger (value: unknown): Seed | undefined {
  if (typeof value === 'bigint') return narrowInteger(value)
  if (typeof value === 'boolean') return Number(value)
  if (typeof value === 'number') return Number.isInteger(value) ? narrowInteger(BigInt(value)) : undefined
  const digits = typeof value === 'string' ? /^\s*([+-]?\d+)(?:\.0*)?\s*$/.exec(value.slice(0, maxDigits + 1))?.[1] : undefined
  if (digits === undefined || String(value).length > maxDigits) return undefined
  return narrowInteger(BigInt(digits.replace(/^\+/, '')))
}

/** The seed of the image so many places behind the first. */
export function seedAfter (seed: Seed, places: number): Seed {
  return narrowInteger(BigInt(seed) + BigInt(places))
}

/** Whether so many images can have seeds that follow each other. */
export function leavesRoom (seed: Seed, images: number): boolean {
  return BigInt(seed) + BigInt(images) - 1n <= largestSeed
}

/** The digits, for readers whose numbers end at 2^53. */
export function seedText (seed: Seed | null): string | null {
  return seed === null ? null : String(seed)
}

export function isSeed (value: unknown): value is Seed {
  return typeof value === 'number' || typeof value === 'bigint'
}
