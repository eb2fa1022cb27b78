import type { Random } from '../random.ts'

/** Smooth noise along a line, 0 to 1, the same for the same random source. */
export function createLineNoise (random: Random): (position: number) => number {
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
export function fractal (noise: (position: number) => number, position: number, octaves: number): number {
  let sum = 0
  let weight = 0.5
  for (let octave = 0; octave < octaves; octave += 1) {
    sum += noise(position * 2 ** octave + octave * 37) * weight
    weight /= 2
  }
  return sum
}

/** Smooth noise over a field, 0 to 1: clouds. */
export function createFieldNoise (random: Random): (x: number, y: number) => number {
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
