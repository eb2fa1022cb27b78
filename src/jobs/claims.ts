import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { sendNow } from '../redis/connections.ts'
import { indexKey, type Job, type JobAttempt, parseJob, weightOf } from './job.ts'
import { classOf, type JobClass, needsOf } from './needs.ts'
import { pairsOf } from './read-pool.ts'
import { loadQueueScripts, noteClasses, takeOver } from './scripts/index.ts'

/** The right to report on one run: a report under another run or owner is refused. */
export interface RunClaim {
  readonly id: string
  readonly run: number
  readonly serverId: string
  /** Names the worker process, its lease of the server and this run, so that it is unique. */
  readonly owner: string
}

/** `lease_lost`: the named lease is over; another process serves the server. */
export type GivenBack = 'returned' | 'cancelled' | 'spent' | 'superseded' | 'lease_lost'

export interface GiveBack {
  /**
   * The failed attempts, appended to the job's history; the job fails with the last one if it must not be sent again.
   */
  readonly attempts: readonly JobAttempt[]
  /** Whether this counts against the allowed attempts (1) or not (0). */
  readonly usedAttempts: 0 | 1
  /** Whether the server went away under it (1) or not (0). */
  readonly crashes: 0 | 1
  readonly delayMs: number
  /** Only under this lease of the server, if another process than the run's own returns the job. */
  readonly fence?: number
  /**
   * What happened to the server. `gone`: it does not answer its probes either, so one more generation is allowed.
   * `unsent`: the request never reached it. `stopped`: this service stopped it in an orderly way.
   */
  readonly disposition: 'answers' | 'gone' | 'unsent' | 'stopped'
  /** Generations that a job can take if no server dies. */
  readonly maxAttempts: number
  /** `first`: other servers try it first, if one takes jobs. `only`: this one tries it again only if none is left. */
  readonly elsewhere?: 'first' | 'only'
  /** `free`: its next server chooses the checkpoint again, if the client named none. It is kept otherwise. */
  readonly checkpoint?: 'kept' | 'free'
}

/** How the pool weighs throughput against order; docs/scheduling.md explains each. */
export interface PoolDial {
  /** How often a job can be passed over. */
  readonly patience: number
  /** The same for the jobs of a share with few waiting jobs, and how many are few. */
  readonly lightPatience: number
  readonly lightJobs: number
}

/** Loads of a checkpoint that its waiting work must be worth for each further server that loads it. */
export const loadsWorth = 6
/** The work of a job of an earlier version, in seconds: only their relation matters. */
const usualSeconds = 10
/** Jobs among which a server chooses at most. */
const longestWindow = 512

/** A server as the claim sees it. */
export interface ClaimingServer {
  readonly id: string
  /** Eight letters of the loaded checkpoint, and of the server's own; empty if unknown. */
  readonly loaded: string
  readonly default: string
  /** Title of the server's own checkpoint; empty if unknown. */
  readonly title: string
  /** Seconds to load a checkpoint. */
  readonly loadSeconds: number
  /** Seconds of an ordinary generation there: of idle servers, the fastest gets a job. */
  readonly speed: number
}

/** `unknown`: the classes for which `noteClasses` must first say whether the server can run them. */
export type ClaimAnswer =
  | { readonly kind: 'claimed', readonly job: Job, readonly passedOver: number }
  | { readonly kind: 'ready' | 'lease_lost' }
  /** Milliseconds until a resting job can be claimed; null if none rests. */
  | { readonly kind: 'none', readonly restMs: number | null }
  | { readonly kind: 'unknown', readonly classes: readonly JobClass[] }

/** Which jobs a server gives back, and what follows. */
export interface Unclaim {
  /** Only this job. */
  readonly id?: string
  /** Only under this lease of the server. */
  readonly fence?: number
  /** Its class from now on. */
  readonly jobClass?: JobClass
  /** No server claims it for so long. */
  readonly restMs?: number
}

/** The dial as the scripts read it. */
export function packDial (dial: PoolDial): string {
  return JSON.stringify({ ...dial, share: loadsWorth, longest: longestWindow })
}

/**
 * The job that a script gave to an idle server; null if the message is for another one, or for an earlier lease.
 * @param text a message of the channel `given`, as offer.lua writes it
 */
export function readGiven (text: string, serverId: string, fence: number): Job | null {
  const beginning = `${serverId} ${fence} `
  if (!text.startsWith(beginning)) return null
  const [jobId, fields] = JSON.parse(text.slice(beginning.length)) as [string, string[]]
  return parseJob(jobId, Object.fromEntries(pairsOf(fields)))
}

/** How servers get jobs of the pool. */
export interface JobClaims {
  /** Claims the job of the pool that a server should run next. `idle`: gives it jobs that arrive, if there is none. */
  claim (server: ClaimingServer, fence: number, idle: boolean): Promise<ClaimAnswer>
  /** Notes whether a server can run classes of jobs; without any, all answers are forgotten. */
  noteClasses (serverId: string, fence: number, answers: ReadonlyMap<string, boolean>): Promise<void>
  /**
   * Gives jobs that a server claimed and has not begun back to the pool: one, or all.
   * @returns their ids
   */
  unclaim (serverId: string, options?: Unclaim): Promise<string[]>
  /**
   * Jobs that a lost process can have sent to the server without a note in their records: those that it had claimed,
   * and those that were cancelled, moved or given back just now. They are listed again if this process dies as well.
   */
  possiblySent (serverId: string, fence: number): Promise<string[]>
  /** A server was removed. */
  forget (serverId: string): Promise<void>
  /** Moves waiting jobs of an earlier version, which bound them to a server at once, into the pool; how many. */
  adopt (serverId: string, fence: number): Promise<number>
  /** How many jobs wait without a server, by the records. */
  unclaimed (): Promise<number>
  /**
   * Adds the missing entries of the queue `waiting`, or removes those of no waiting job: a page at a time, so that it
   * never takes long.
   * @param after where the last page ended; `0` begins
   */
  repairWaiting (what: 'missing' | 'void', after: string): Promise<RepairedPage>
}

/** Where the page ended, empty after the last one, and the number of entries that were added or removed. */
export interface RepairedPage {
  readonly last: string
  readonly changed: number
}

/** Waiting jobs that one call looks at. */
const repairPage = 500

export interface JobClaimsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  /** Lua functions that add and remove queue entries. */
  readonly queueEntries: string
  readonly dial: PoolDial
}

export function createJobClaims ({ redis, keys, queueEntries, dial: given }: JobClaimsDependencies): JobClaims {
  const { claimJob, unclaimJob, adoptJob, repairWaiting } = loadQueueScripts(queueEntries)
  const prefix: [string] = [keys.key('')]
  const dial = packDial(given)

  return {
    async claim ({ id, ...facts }, fence, idle) {
      const answering = claimJob(redis, prefix, [id, fence, JSON.stringify(facts), dial, idle ? 'idle' : ''])
      // The server possibly waits for this job, and not for what this turn's other callbacks do.
      sendNow(redis)
      const answer = await answering
      if (answer[0] === 'claimed') {
        const [, passedOver, jobId, fields] = answer
        const job = parseJob(jobId, Object.fromEntries(pairsOf(fields)))
        return job === null ? { kind: 'ready' } : { kind: 'claimed', job, passedOver }
      }
      if (answer[0] === 'none') return { kind: 'none', restMs: answer[1] < 0 ? null : answer[1] }
      if (answer[0] !== 'unknown') return { kind: answer[0] }
      const classes = pairsOf(answer.slice(1)).map(([jobClass, needs]) => ({ id: jobClass, needs }))
      return { kind: 'unknown', classes }
    },
    async noteClasses (serverId, fence, answers) {
      await noteClasses(redis, prefix, [serverId, fence, ...[...answers].flatMap(([id, can]) => [id, can ? '1' : '0'])])
    },
    async unclaim (serverId, { id = '', fence, jobClass, restMs = 0 } = {}) {
      return await unclaimJob(redis, prefix,
        [serverId, id, fence ?? '', jobClass?.id ?? '', jobClass?.needs ?? '', restMs, dial])
    },
    possiblySent: async (serverId, fence) => await takeOver(redis, prefix, [serverId, fence]),
    async forget (serverId) {
      await redis.multi().del(keys.key('can', serverId)).hdel(keys.key('holds'), serverId)
        .hdel(keys.key('idle'), serverId).exec()
    },
    async adopt (serverId, fence) {
      let adopted = 0
      const ids = await redis.zrange(keys.key('line', serverId), '0', '-1')
      for (const id of ids) {
        if (await redis.hexists(keys.key('job', id), 'class') === 1) continue
        const job = parseJob(id, await redis.hgetall(keys.key('job', id)))
        if (job === null) continue
        const { submission } = job
        const { id: jobClass, needs } = classOf(needsOf(submission, job.target), submission)
        adopted += await adoptJob(redis, prefix, [id, serverId, fence, job.target, jobClass, needs,
          Math.round(usualSeconds * 1000), weightOf(job.priority), submission.studio?.user ?? ''])
      }
      return adopted
    },
    async unclaimed () {
      const [waiting, claimed] = await Promise.all([
        redis.zcard(indexKey(keys, { status: 'pending' })), redis.zcard(keys.key('claimed'))
      ])
      return Math.max(0, waiting - claimed)
    },
    async repairWaiting (what, after) {
      const [last, changed] = await repairWaiting(redis, prefix, [what, after, repairPage])
      return { last, changed }
    }
  }
}
