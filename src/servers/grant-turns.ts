import type { Semaphore } from '../lib/semaphore.ts'
import { createWakeUp } from '../lib/wake-up.ts'
import type { Log } from '../log.ts'
import type { TurnLine } from './turns.ts'

/** Lets calls that are no jobs through the gate of one server, as long as this process serves it. */
export interface TurnGranter {
  /** Somebody came or left, or the server can be used again. */
  look (): void
  close (): void
}

export interface TurnGranterDependencies {
  readonly line: TurnLine
  readonly gate: Semaphore
  /** Whether the server takes anything now. */
  readonly open: () => boolean
  readonly log: Log
}

/** After trouble with Redis, in milliseconds. */
const pauseAfterTrouble = 1000

/**
 * One of them stands at the gate at a time, so that calls and generations take turns however many calls there are.
 * Resolves once a call that a former holder of the lease has let through, and that may still be at the server, stands
 * first at the gate: nothing may be sent before.
 */
export async function grantTurns ({ line, gate, open, log }: TurnGranterDependencies): Promise<TurnGranter> {
  const closing = new AbortController()
  const { ring, quiet } = createWakeUp(closing.signal)

  /** Resolves when the caller says that it is done, or is gone. */
  async function over (id: string): Promise<void> {
    while (!closing.signal.aborted) {
      const left = await line.remaining(id)
      if (left === null) return
      await quiet(left + 1)
    }
  }

  async function next (): Promise<void> {
    const first = open() ? await line.first() : null
    if (first === null) return await quiet()
    const openGate = await gate.enter(closing.signal)
    try {
      // Both the server and the caller may have left meanwhile.
      if (open() && await line.grant(first.id)) await over(first.id)
    } finally {
      openGate()
    }
  }

  async function goOnWith (id: string): Promise<void> {
    const openGate = await gate.enter(closing.signal)
    await over(id).finally(openGate)
  }

  async function run (begun: Promise<void>): Promise<void> {
    let work = begun
    while (!closing.signal.aborted) {
      await work.catch(async error => {
        if (closing.signal.aborted) return
        log.debug({ err: error }, 'could not see to calls that wait for their turn')
        await quiet(pauseAfterTrouble)
      })
      work = next()
    }
    await work.catch(() => { /* closed meanwhile */ })
  }

  const left = await line.first()
  const begun = left?.granted === true ? goOnWith(left.id) : Promise.resolve()
  run(begun).catch(error => { log.error({ err: error }, 'calls get no turns any more') })

  return {
    look: ring,
    close () { closing.abort() }
  }
}
