import { setImmediate as nextTurn } from 'node:timers/promises'
import { ProcessDied } from './failures.ts'

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
