import { createPicture, type Picture } from './pixels.ts'

/** A picture of random bytes that no codec can make smaller, for tests with big answers; seeded like any other. */
export function drawNoise (width: number, height: number, seed: number): Picture {
  const picture = createPicture(width, height)
  let state = (seed ^ 0x9E3779B9) >>> 0 || 1
  const { data } = picture
  for (let index = 0; index < data.length; index += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    data[index] = state & 255
  }
  return picture
}
