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

/** Work in short pieces: it yields after each and returns its result. */
export type Pieces<Result> = Generator<undefined, Result>

/** Does the work at once. */
export function atOnce<Result> (work: Pieces<Result>): Result {
  for (;;) {
    const { done, value } = work.next()
    if (done === true) return value
  }
}

/** Does the work with breaks, so that nothing else waits longer than for one piece. */
export async function inPieces<Result> (work: Pieces<Result>): Promise<Result> {
  const otherWork = createBreaks()
  for (;;) {
    const { done, value } = work.next()
    if (done === true) return value
    const pause = otherWork()
    if (pause !== undefined) await pause
  }
}
