import { setImmediate as nextTurn } from 'node:timers/promises'
import { ProcessDied } from '../fastapi/errors.ts'
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

/** Lets simulated time pass, in real milliseconds, until the process dies. */
export interface Pace {
  /** Waits so many milliseconds after the end of the wait before, so that many short steps add up exactly. */
  pass (milliseconds: number): Promise<void>
  /** Forgets time lost elsewhere: the next wait counts from now. */
  restart (): void
}

/** Throws `ProcessDied` from any wait once `life` is aborted. */
export function createPace (life: AbortSignal): Pace {
  let due = performance.now()

  return {
    async pass (milliseconds) {
      if (life.aborted) throw new ProcessDied()
      due = Math.max(due, performance.now() - 50) + milliseconds
      const left = due - performance.now()
      if (left < 1) await nextTurn()
      else await wait(left, life)
      if (life.aborted) throw new ProcessDied()
    },
    restart () {
      due = performance.now()
    }
  }
}

/** A plain wait that ends early, with `ProcessDied`, when the process dies. */
export async function wait (milliseconds: number, life: AbortSignal): Promise<void> {
  if (life.aborted) throw new ProcessDied()
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      life.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    function stop (): void {
      clearTimeout(timer)
      reject(new ProcessDied())
    }
    life.addEventListener('abort', stop, { once: true })
  })
}
