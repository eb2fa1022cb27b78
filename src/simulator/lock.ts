import { ProcessDied } from './failures.ts'

/** A semaphore that is fair: who asks first, enters first. */
export interface Turnstile {
  /** Runs the work when a slot is free, after everyone who asked before. */
  run<Result> (work: () => Promise<Result>): Promise<Result>
  /** How many are waiting for a slot. */
  waiting (): number
  /** How many are inside. */
  inside (): number
}

/**
 * Both kinds of jam in A1111 are turnstiles: the job lock has one slot, Starlette's thread pool forty.
 * Whoever waits when the process dies gets `ProcessDied`.
 */
export function createTurnstile (slots: number, life: AbortSignal): Turnstile {
  const line: Array<{ enter: () => void, give: (error: Error) => void }> = []
  let taken = 0

  life.addEventListener('abort', () => {
    for (const waiter of line.splice(0)) waiter.give(new ProcessDied())
  }, { once: true })

  async function enter (): Promise<void> {
    if (life.aborted) throw new ProcessDied()
    if (taken < slots) {
      taken += 1
      return
    }
    await new Promise<void>((resolve, reject) => { line.push({ enter: resolve, give: reject }) })
  }

  function leave (): void {
    const next = line.shift()
    if (next === undefined) taken -= 1
    else next.enter()
  }

  return {
    async run (work) {
      await enter()
      try {
        return await work()
      } finally {
        leave()
      }
    },
    waiting: () => line.length,
    inside: () => taken
  }
}
