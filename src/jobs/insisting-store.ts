import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'
import { redisProblemOf } from '../redis/errors.ts'
import type { JobStore } from './store.ts'

/** How often it is tried again what Redis refuses, in milliseconds. */
const tryInterval = 500

/**
 * The store of a worker. What a generation has brought is not thrown away because Redis takes no writes just now: the
 * step is made again until Redis takes it, which is harmless since every script gives the same claim the same answer.
 * While Redis is away the connection itself waits.
 * @param closing gives up
 */
export function insistingStore (store: JobStore, log: Log, closing: AbortSignal): JobStore {
  let refused = ''

  async function insist<Outcome> (work: () => Promise<Outcome>): Promise<Outcome> {
    for (;;) {
      try {
        const outcome = await work()
        if (refused !== '') log.info('Redis carries out the steps of jobs again')
        refused = ''
        return outcome
      } catch (error) {
        const problem = redisProblemOf(error)
        if (problem?.kind !== 'refused' || closing.aborted) throw error
        if (refused !== problem.code) {
          log.error({ err: error, reason: problem.reason }, 'Redis rejects a step of a job; retrying until it succeeds')
        }
        refused = problem.code
        await sleep(tryInterval, undefined, { signal: closing }).catch(() => {})
      }
    }
  }

  return {
    ...store,
    find: async id => await insist(async () => await store.find(id)),
    start: async (claim, fence) => await insist(async () => await store.start(claim, fence)),
    end: async (claim, status, outcome) => await insist(async () => await store.end(claim, status, outcome)),
    giveBack: async (claim, options) => await insist(async () => await store.giveBack(claim, options))
  }
}
