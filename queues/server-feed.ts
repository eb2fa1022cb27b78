import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Claimer, createClaimer } from '../src/jobs/claimer.ts'
import { type JobClaims, readGiven } from '../src/jobs/claims.ts'
import type { Job, JobSubmission } from '../src/jobs/job.ts'
import { shortCheckpoint, workloadOf } from '../src/jobs/workload.ts'
import type { Log } from '../src/lib/logging.ts'
import { learnFrom, type Observed, predictSeconds } from '../src/servers/cost-model.ts'
import type { Server, ServerRegistry } from '../src/servers/registry.ts'
import type { ServerStateStore } from '../src/servers/state-store.ts'

export interface ServerFeedDependencies {
  readonly server: () => Server
  readonly claims: JobClaims
  readonly registry: Pick<ServerRegistry, 'list'>
  readonly states: Pick<ServerStateStore, 'costs' | 'inventory' | 'readMany'>
  /** Of the lease of the server. */
  readonly fence: number
  /** Whether the server takes jobs now. */
  readonly open: () => boolean
  /** The title of the checkpoint that people selected there; null if unknown. */
  readonly selection: () => string | null
  readonly onExpected: () => void
  readonly onClaimed: (job: Job) => void
  readonly log: Log
}

/** How one server gets its jobs: what it has loaded, when it is free, and so when it claims the next one. */
export interface ServerFeed extends Omit<Claimer, 'close' | 'given'> {
  /** A script gave an idle server a job. @param text a message of the channel `given` */
  given (text: string): void
  /** A generation begins. */
  onBegun (job: Job): void
  /** The server is free for the next one. */
  onFree (): void
  /** A generation took so many seconds. */
  learn (submission: JobSubmission, seconds: number): void
  /** Resolves when all of that is stored. */
  learnt (): Promise<void>
  /** The server was away: it has an unknown checkpoint loaded. */
  restarted (): void
  /** Claims nothing until this work is done. */
  holdDuring (work: Promise<unknown>): Promise<unknown>
  /** Moves jobs that a process of an earlier version bound to this server into the pool; it can run beside this one. */
  adopt (): Promise<void>
  close (): void
}

/**
 * How long before the end of a generation the next job is claimed, in seconds: a quarter of it, as later jobs can
 * still go ahead until then, between what a claim and its preparation need on a slow disk and a second.
 */
const lead = { least: 0.1, share: 0.25, most: 1 }

/** A generation by which servers are compared: 20 steps of 512x512. */
const ordinary = { evaluations: 20, megapixels: 5.24, checkpoint: '' }

function leadOf (seconds: number): number {
  return Math.min(lead.most, Math.max(lead.least, lead.share * seconds))
}

/** The shortest time between two fits of the model to what was observed, in milliseconds. */
const learnEvery = 100

export async function createServerFeed (dependencies: ServerFeedDependencies): Promise<ServerFeed> {
  const { server, claims, registry, states, fence, open, selection, onExpected, onClaimed, log } = dependencies
  const serverId = server().id
  await adopt()
  let model = await states.costs.read(serverId)
  /** The checkpoint that is loaded now, or by what runs. */
  let loaded = model.loaded
  /** When the next job is to be claimed, by the monotonic clock; 0 while nothing runs, null if unknown. */
  let claimAt: number | null = 0
  let held = 0
  const closing = new AbortController()
  /** What the model does not contain yet. */
  let observed: Observed[] = []
  /** Null if the model contains all. */
  let learning: Promise<void> | null = null

  async function adopt (): Promise<void> {
    const adopted = await claims.adopt(serverId, fence)
    if (adopted > 0) log.info({ server: server().alias, jobs: adopted }, 'jobs of an earlier version went into the pool')
  }

  /** Fits and stores the model, no more than once in a while, as short generations come often. */
  async function learnObserved (): Promise<void> {
    // The server has just become free: its next request goes first.
    await nextTurn()
    model = learnFrom(model, observed)
    observed = []
    await states.costs.write(serverId, model)
      .catch(error => { log.debug({ server: server().alias, err: error }, 'could not store how long jobs take') })
    await sleep(learnEvery, undefined, { ref: false, signal: closing.signal }).catch(() => {})
    learning = observed.length === 0 ? null : learnObserved()
  }

  /** This server and the others, as known. */
  async function fleet () {
    const servers = registry.list()
    const [known, inventories] = await Promise.all([
      states.readMany(servers.map(({ id }) => id)),
      Promise.all(servers.map(async ({ id }) => await states.inventory(id)))
    ])
    const all = servers.map((one, index) => ({
      server: one, state: known[index] ?? null, inventory: inventories[index] ?? null
    }))
    return {
      own: all.find(one => one.server.id === serverId) ?? { server: server(), state: null, inventory: null },
      others: all.filter(one => one.server.id !== serverId)
    }
  }

  const claimer = createClaimer({
    server,
    claims,
    fence,
    open: () => held === 0 && open(),
    claimIn: () => claimAt === null ? null : Math.max(0, (claimAt - performance.now()) / 1000),
    isIdle: () => claimAt === 0,
    async facts () {
      const title = selection()
      return {
        loaded,
        default: shortCheckpoint(title),
        title: title ?? '',
        loadSeconds: model.costs[3],
        speed: predictSeconds({ ...model, samples: 1 }, ordinary, '') ?? 0
      }
    },
    fleet,
    onExpected,
    onClaimed,
    log
  })

  return {
    ...claimer,
    given (text) {
      const job = readGiven(text, serverId, fence)
      if (job !== null) claimer.given(job)
    },
    onBegun ({ submission }) {
      const workload = workloadOf(submission)
      const seconds = predictSeconds(model, workload, loaded)
      claimAt = seconds === null ? null : performance.now() + (seconds - leadOf(seconds)) * 1000
      loaded = workload.checkpoint === '' ? shortCheckpoint(selection()) : workload.checkpoint
      claimer.look()
    },
    onFree () {
      claimAt = 0
      claimer.look()
    },
    learn (submission, seconds) {
      observed.push({ workload: workloadOf(submission), seconds })
      learning ??= learnObserved()
    },
    async learnt () {
      closing.abort()
      for (let last = learning; last !== null; last = learning) await last
    },
    restarted () { loaded = '' },
    async holdDuring (work) {
      held++
      return await work.finally(() => {
        held--
        claimer.look()
      })
    },
    adopt
  }
}
