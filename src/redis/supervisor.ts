import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'
import { whenEnded } from './process.ts'
import type { RunningServer } from './server.ts'

export interface Supervisor {
  /** Ends the watch; resolves with the server that ran last. */
  stop (): Promise<RunningServer>
}

export interface SupervisorOptions {
  readonly server: RunningServer
  /** Starts the server again at the address it had. */
  restart (server: RunningServer, signal: AbortSignal): Promise<RunningServer>
  readonly log: Log
}

/** Milliseconds before the second attempt to start Redis again, doubled for each further one up to the last. */
const pauses = { first: 100, last: 5000 }

/** Starts the private Redis again whenever it ends by itself, for as long as it takes. */
export function superviseServer ({ server, restart, log }: SupervisorOptions): Supervisor {
  const stopping = new AbortController()
  const { signal } = stopping
  let current = server

  async function watch (): Promise<void> {
    while (!signal.aborted) {
      await whenEnded(current.record.process.pid, signal)
      log.warn(`The ${current.description} stopped by itself; starting it again`)
      await startAgain()
      log.info(`Started the ${current.description} again`)
    }
  }

  async function startAgain (): Promise<void> {
    for (let pause = pauses.first; ; pause = Math.min(pause * 2, pauses.last)) {
      try {
        current = await restart(current, signal)
        return
      } catch (error) {
        if (signal.aborted) throw error
        log.error({ err: error }, 'The private Redis could not be started; trying again')
        await sleep(pause, undefined, { signal })
      }
    }
  }

  // Only the end of the watch rejects it.
  const watching = watch().catch(() => {})
  return {
    stop: async () => {
      stopping.abort()
      await watching
      return current
    }
  }
}
