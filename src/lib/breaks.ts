import { setImmediate } from 'node:timers/promises'

/** Milliseconds after which other work gets its turn. */
const longestTurn = 5

/**
 * Lets long work make room for other work. Call the function between two short pieces: after some milliseconds it
 * answers a promise to await, before that nothing.
 */
export function createBreaks (): () => Promise<void> | undefined {
  let began = performance.now()

  async function rest (): Promise<void> {
    await setImmediate()
    began = performance.now()
  }

  return () => performance.now() - began > longestTurn ? rest() : undefined
}
