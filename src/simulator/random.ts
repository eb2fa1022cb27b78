/** A repeatable source of numbers from 0 (included) to 1 (excluded). */
export type Random = () => number

/** The mulberry32 generator: small, quick, good enough for images and for faults by probability. */
export function createRandom (seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** A 32-bit number for a text (FNV-1a), the same in every process. */
export function hashText (text: string): number {
  let hash = 0x811C9DC5
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}
