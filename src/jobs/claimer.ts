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
  /** A job probably comes: it asks for one, and the last time there was one. */
  readonly onExpected: () => void
  /** A claimed job is here. It can begin before its queue entry arrives. */
  readonly onClaimed: (job: Job) => void
  readonly log: Log
}

/** Gets the jobs of the pool for one server, one at a time: late enough that others can still go ahead. */
export interface Claimer {
  /** Claims the next job if the server is about to be free. Returns at once. */
  look (): void
  /** A job of this class entered the pool: looks, unless the server is known to be unable to run it. */
  entered (classId: string): void
  /**
   * The record of a claimed job, so that it need not be read again; once, and only for this run. From now on the job
   * waits here to begin.
   */
  record (jobId: string, run: number): Job | null
  /** Whether a job that waits here was taken away from this server: cancelled, moved or given back. */
  isTaken (jobId: string, run: number): boolean
  /** Whether nothing suggests that a job that waits here can have been taken away. */
  isReserved (jobId: string, run: number): boolean
  /** A job no longer waits here: it begins, or this process leaves it. @returns whether it did */
  leave (jobId: string, run: number): boolean
  /** A script gave this job to the idle server. */
  given (job: Job): void
  /** A claimed job was taken away from its server. @param name id and run, as `<id>_<run>` */
  taken (name: string): void
  /** Notices of that can have been lost. */
  doubt (): void
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
/** How long a claimed job is expected to reach the worker, in milliseconds. */
const onItsWay = 1000
/** Pause after a look that failed, in milliseconds. */
const afterFailure = 1000
/** Notices of jobs that were taken away that are remembered: one can arrive before the answer to its claim. */
const mostTaken = 200
/** Jobs that have arrived here that are remembered: the notice that one was given can arrive later. */
const mostArrived = 200

/** Classes that a server cannot run that are remembered. */
const mostUnable = 200

const nameOf = (jobId: string, run: number) => `${jobId}_${run}`

function remember (names: Set<string>, name: string, most: number): void {
  names.add(name)
  for (const oldest of names) {
    if (names.size <= most) break
    names.delete(oldest)
  }
}

export function createClaimer (dependencies: ClaimerDependencies): Claimer {
  const { server, claims, fence, open, claimIn, isIdle, facts, fleet, onExpected, onClaimed, log } = dependencies
  const serverId = server().id
  let claimed: Job | null = null
  let claimedAt = -Infinity
  /** The jobs that wait here to begin, and whether all that was heard of each was heard. */
  const waiting = new Map<string, 'certain' | 'doubtful'>()
  const taken = new Set<string>()
  const arrived = new Set<string>()
  /** Classes that the server cannot run, as it said since it was last asked again. */
  const unable = new Set<string>()
  let more = false
  let looking = false
  let again = false
  let closed = false
  let timer: NodeJS.Timeout | undefined

  async function answersFor (classes: ReadonlyArray<{ readonly id: string, readonly needs: string }>) {
    const { own, others } = await fleet()
    return new Map(classes.map(({ id, needs }) => {
      const parsed = parseNeeds(needs)
      const able = parsed !== null && canRun(parsed, own, others)
      if (!able) remember(unable, id, mostUnable)
      return [id, able] as const
    }))
  }

  async function claim (): Promise<void> {
    for (let tries = 0; tries < maxAnswers; tries++) {
      const answering = claims.claim({ ...await facts(), id: serverId }, fence, isIdle())
      if (more) onExpected()
      const answer = await answering
      more = answer.kind === 'claimed' || answer.kind === 'ready'
      if (answer.kind === 'claimed') {
        const isTaken = taken.has(nameOf(answer.job.id, answer.job.run))
        claimed = isTaken ? null : answer.job
        claimedAt = performance.now()
        again ||= isTaken
        const { id, run, submission: { requestId: request } } = answer.job
        const about = { job: id, ...(request === undefined ? {} : { request }), server: server().alias }
        log.debug({ ...about, run, passed_over: answer.passedOver }, 'job claimed')
      }
      if (answer.kind !== 'unknown') {
        // It can have been paused since the claim was sent: what it then gave back is not all that it has.
        if (!open()) await giveBack()
        else if (answer.kind === 'claimed' && claimed === answer.job) onClaimed(answer.job)
        else if (answer.kind === 'none' && answer.restMs !== null) lookIn(answer.restMs)
        return
      }
      await claims.noteClasses(serverId, fence, await answersFor(answer.classes))
    }
  }

  /** Then a claim would find that out: a server has one claimed job at most. */
  function isSupplied (): boolean {
    if (claimed !== null && performance.now() - claimedAt < onItsWay) return true
    return [...waiting.keys()].some(name => !taken.has(name))
  }

  function doubt (): void {
    claimed = null
    for (const name of waiting.keys()) waiting.set(name, 'doubtful')
  }

  async function giveBack (): Promise<void> {
    doubt()
    await claims.unclaim(serverId, { fence })
  }

  function lookIn (ms: number): void {
    clearTimeout(timer)
    if (!closed) timer = setTimeout(look, ms)
  }

  function look (): void {
    clearTimeout(timer)
    if (closed || !open() || isSupplied()) return
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
      .catch(error => {
        log.debug({ server: server().alias, err: error }, 'could not look for a job')
        lookIn(afterFailure)
      })
      .finally(() => {
        looking = false
        if (!again) return
        again = false
        look()
      })
  }

  return {
    look,
    entered (classId) {
      // Else an idle server would claim in vain for each job that needs another one.
      if (!unable.has(classId)) look()
    },
    record (jobId, run) {
      const found = claimed?.id === jobId && claimed.run === run ? claimed : null
      if (found !== null) claimed = null
      waiting.set(nameOf(jobId, run), 'certain')
      remember(arrived, nameOf(jobId, run), mostArrived)
      return found
    },
    isTaken: (jobId, run) => taken.has(nameOf(jobId, run)),
    isReserved: (jobId, run) => waiting.get(nameOf(jobId, run)) === 'certain' && !taken.has(nameOf(jobId, run)),
    leave: (jobId, run) => waiting.delete(nameOf(jobId, run)),
    given (job) {
      const name = nameOf(job.id, job.run)
      if (!open() || taken.has(name) || arrived.has(name)) return
      claimed = job
      claimedAt = performance.now()
      onClaimed(job)
    },
    taken (name) {
      remember(taken, name, mostTaken)
      const wasClaimed = claimed !== null && nameOf(claimed.id, claimed.run) === name
      if (wasClaimed) claimed = null
      if (wasClaimed || waiting.has(name)) look()
    },
    doubt,
    hasMore: () => more,
    async forgetClasses () {
      unable.clear()
      if (!closed) await claims.noteClasses(serverId, fence, new Map())
      unable.clear()
      look()
    },
    giveBack,
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}
