import { createRandom } from './random.ts'
import type { SimulatorSettings } from './settings.ts'

/** How long things take, in milliseconds. */
export interface Timing {
  /** One step of a batch; `order` is 2 for samplers that evaluate the model twice. */
  step (pass: {
    readonly width: number
    readonly height: number
    readonly batch: number
    readonly order: number
  }): number
  readonly load: number
  /** Of a prompt. */
  readonly encode: number
}

const baseMilliseconds = 20
const milliseconds512 = 110
const encodeMilliseconds = 40
const jitter = 0.1

/** Step time = base + a share for each pixel of the batch, ±10 % by the seed, unless it is fixed. */
export function createTiming (settings: SimulatorSettings): Timing {
  const random = createRandom(settings.faultSeed ^ 0x7157)
  return {
    load: settings.loadMilliseconds,
    encode: settings.stepMilliseconds ?? encodeMilliseconds / settings.speed,
    step ({ width, height, batch, order }) {
      if (settings.stepMilliseconds !== null) return settings.stepMilliseconds
      const pixels = width * height * batch / (512 * 512)
      const chance = 1 - jitter + random() * jitter * 2
      return (baseMilliseconds + milliseconds512 * pixels) * order * chance / settings.speed
    }
  }
}
