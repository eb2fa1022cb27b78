import type { Log } from '../lib/logging.ts'
import type { Server } from '../servers/registry.ts'
import type { ClaimingServer, JobClaims } from './claims.ts'
import type { Job } from './job.ts'
import { canRun, type KnownServer, parseNeeds } from './needs.ts'

export interface ClaimerDependencies {
  readonly server: () => Server
  readonly claims: JobClaims
  /** Of the lease of the server. */
  readonly fence: number
  /** Whether the server takes jobs now. */
  readonly open: () => boolean
  /** Seconds until it should claim its next job, which is shortly before it is free; null if that is unknown. */
  readonly claimIn: () => number | null
  /** Whether nothing runs there. */
  readonly isIdle: () => boolean
  readonly facts: () => Promise<Omit<ClaimingServer, 'id'>>
  /** This server and the others, as known. */
  readonly fleet: () => Promise<{ readonly own: KnownServer, readonly others: readonly KnownServer[] }>
  readonly log: Log
}

/** Gets the jobs of the pool for one server, one at a time: late enough that others can still go ahead. */
export interface Claimer {
  /** Claims the next job if the server is about to be free. Returns at once. */
  look (): void
  /** The record of a claimed job, so that it need not be read again; once, and only for this run. */
  record (jobId: string, run: number): Job | null
  /** Whether more work was found when it last looked. */
  hasMore (): boolean
  /** What the server can run can have changed: the pool asks again. */
  forgetClasses (): Promise<void>
  /** The server takes no jobs now: gives back what it claimed and has not begun. */
  giveBack (): Promise<void>
  close (): void
}

/** Claims that only tell the pool what the server can run, in a row. */
const maxAnswers = 20

export function createClaimer (dependencies: ClaimerDependencies): Claimer {
  const { server, claims, fence, open, claimIn, isIdle, facts, fleet, log } = dependencies
  const serverId = server().id
  let claimed: Job | null = null
  let more = false
  let looking = false
  let again = false
  let closed = false
  let timer: NodeJS.Timeout | undefined

  async function answersFor (classes: ReadonlyArray<{ readonly id: string, readonly needs: string }>) {
    const { own, others } = await fleet()
    return new Map(classes.map(({ id, needs }) => {
      const parsed = parseNeeds(needs)
      return [id, parsed !== null && canRun(parsed, own, others)] as const
    }))
  }

  async function claim (): Promise<void> {
    for (let tries = 0; tries < maxAnswers; tries++) {
      const answer = await claims.claim({ ...await facts(), id: serverId }, fence, isIdle())
      more = answer.kind === 'claimed' || answer.kind === 'ready'
      if (answer.kind === 'claimed') {
        claimed = answer.job
        const { id, run, submission: { requestId: request } } = answer.job
        const about = { job: id, ...(request === undefined ? {} : { request }), server: server().alias }
        log.debug({ ...about, run, passed_over: answer.passedOver }, 'job claimed')
      }
      if (answer.kind !== 'unknown') {
        // It can have been paused since the claim was sent: what it then gave back is not all that it has.
        if (!open()) await giveBack()
        else if (answer.kind === 'none' && answer.restMs !== null) lookIn(answer.restMs)
        return
      }
      await claims.noteClasses(serverId, fence, await answersFor(answer.classes))
    }
  }

  async function giveBack (): Promise<void> {
    claimed = null
    await claims.unclaim(serverId, { fence })
  }

  function lookIn (ms: number): void {
    clearTimeout(timer)
    if (!closed) timer = setTimeout(look, ms)
  }

  function look (): void {
    clearTimeout(timer)
    if (closed || !open()) return
    if (looking) {
      again = true
      return
    }
    const rest = claimIn()
    if (rest !== null && rest > 0) {
      lookIn(rest * 1000)
      return
    }
    looking = true
    claim()
      .catch(error => { log.debug({ server: server().alias, err: error }, 'could not look for a job') })
      .finally(() => {
        looking = false
        if (!again) return
        again = false
        look()
      })
  }

  return {
    look,
    record (jobId, run) {
      const found = claimed?.id === jobId && claimed.run === run ? claimed : null
      if (found !== null) claimed = null
      return found
    },
    hasMore: () => more,
    async forgetClasses () {
      if (!closed) await claims.noteClasses(serverId, fence, new Map())
      look()
    },
    giveBack,
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}
