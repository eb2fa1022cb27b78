import type { Redis } from 'ioredis'
import { inPieces } from '../lib/breaks.ts'
import type { Keys } from '../lib/keys.ts'
import { type CostModel, parseCosts } from '../servers/cost-model.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { isBackground } from './claim-rule.ts'
import { loadsWorth, type PoolDial } from './claims.ts'
import {
  createLateness, type Expectation, type Forecast, type ForecastServer, type JobEstimate, type Prediction, runForward,
  runningFor
} from './forecast.ts'
import type { Job, Needs } from './job.ts'
import { needsOfJob, parseNeeds } from './needs.ts'
import {
  after, claimedJob, conditionOf, expectNewcomers, pairsOf, type PreviewedJob, previewedJob, previewId, poolJob,
  secondsLeft, shareOfPreview, sharesOf
} from './read-pool.ts'
import { type JobFacts, readPositions, type QueueScripts } from './scripts/index.ts'
import { type ServerCondition, type Turn, turnsOf, turnText, whyNever } from './waiting-for.ts'
import { unpackWorkload } from './workload.ts'

/** The work that a server has ahead of it. */
export interface QueueEstimate {
  /** Waiting jobs that it is expected to run. */
  readonly waiting: number
  readonly running: number
  /**
   * Seconds until the server has done all of it, if nothing else arrives; null while its speed is unknown. Ignores
   * whether the queue is paused.
   */
  readonly seconds: number | null
}

/** What is expected of a job that has not finished. */
export interface Outlook {
  /** Rank among the waiting jobs by the time at which they are expected to begin, from 1; null unless it waits. */
  readonly position: number | null
  /** Null if it cannot be estimated: no server can run it now, or the speed is unknown. */
  readonly estimate: JobEstimate | null
  /** What a waiting job waits for, as a sentence; null unless it waits. */
  readonly waitingFor: string | null
}

/** That of a job that has finished. */
export const noOutlook: Outlook = { position: null, estimate: null, waitingFor: null }

/** The part of a job that an estimate needs. */
export type EstimatedJob =
  Pick<Job, 'id' | 'serverId' | 'status' | 'submission' | 'needs' | 'jobClass' | 'target' | 'background'>

export interface Estimates {
  /** In the order given; all of one answer come from the same forecast. */
  of (jobs: readonly EstimatedJob[]): Promise<Outlook[]>
  /** The outlook of a job that would be submitted now, and the server that is expected to run it. */
  preview (job: PreviewedJob): Promise<Outlook & { readonly serverId: string | null }>
  /** Predicted seconds of work in front of a server. */
  queue (serverId: string): Promise<QueueEstimate>
  /** The first waiting jobs, in the order of their expected begin. */
  positions (count: number): Promise<PositionEstimate[]>
}

export interface PositionEstimate {
  readonly jobId: string
  readonly keyId: string | null
  /** From 1. */
  readonly position: number
  readonly estimate: JobEstimate | null
}

export interface EstimatesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly readPool: QueueScripts['readPool']
  readonly dial: PoolDial
  readonly registry: Pick<ServerRegistry, 'byId' | 'list'>
  readonly states: Pick<ServerStateStore, 'readMany'>
  /** Whether servers take jobs at all. */
  readonly processes: () => boolean
  readonly now?: () => number
}

/** Jobs of the pool that are run forward one by one; each further one counts as their mean. */
const forecastJobs = 1000
/** How long one forecast of many jobs serves all questions, in milliseconds. One of few jobs is made for each. */
const validFor = 1000
const fewJobs = 100
/** Positions that one script reads, as all others wait meanwhile. */
const positionsAtOnce = 20
/** Predictions that are remembered until the job begins. */
const maxRemembered = 2000

interface Known {
  readonly forecast: Forecast
  readonly expectation: Expectation
  /** Of each running job, by its id; null if the speed of its server is unknown. */
  readonly running: ReadonlyMap<string, JobEstimate | null>
  readonly keyIds: ReadonlyMap<string, string | null>
  readonly servers: ReadonlyMap<string, ServerOutlook>
  /** What waits for each server, claimed jobs included. */
  readonly work: ReadonlyMap<string, { readonly jobs: number, readonly endsIn: number }>
  readonly waiting: number
  /** Of each job of the forecast. */
  readonly turns: ReadonlyMap<string, Turn>
  /** How many of them are outside the background lane. */
  readonly outside: number
  readonly made: number
}

/** What was said of a job: at which time, by the wall clock, in how many seconds it would begin. */
interface Statement extends Pick<Prediction, 'startsIn' | 'deviation'> {
  readonly at: number
  readonly expectation: Expectation
}

/** A job is remembered again once this part of the wait is left. */
const soonerBy = 0.6

interface ServerOutlook {
  readonly server: Server
  readonly condition: ServerCondition
  readonly model: CostModel
  readonly running: number
  readonly free: number
  readonly claimed: ReadonlySet<string>
  canRunClass (jobClass: string): boolean
}

/** The estimate of a job, with the server's own guess if it made one, so that all interfaces report the same end. */
export function expectationOf (
  { status, progress }: Pick<Job, 'status' | 'progress'>, estimate: JobEstimate | null
): JobEstimate | null {
  const own = status === 'processing' ? progress?.etaSeconds ?? null : null
  return own === null ? estimate : { startsIn: 0, endsIn: own, endsInP90: own }
}

/** Predicts when jobs will begin and finish, by running the rule of claims forward over all servers. */
export function createEstimates (dependencies: EstimatesDependencies): Estimates {
  const { redis, keys, readPool, dial, registry, states, processes, now = Date.now } = dependencies
  const prefix: [string] = [keys.key('')]
  const lateness = createLateness()
  /** When waiting jobs were expected to begin, at several times before. */
  const expected = new Map<string, Statement[]>()
  let latest: Known | null = null
  let making: Promise<Known> | null = null
  let following: Promise<Known> | null = null

  /** @param more a job that would arrive now */
  async function make (more: PreviewedJob | null = null): Promise<Known> {
    const servers = registry.list()
    const ids = servers.map(({ id }) => id)
    const [reading, known] = await Promise.all([
      readPool(redis, prefix, [forecastJobs, more === null ? '' : shareOfPreview(more), ...ids]), states.readMany(ids)
    ])
    const [virtual, virtualOfLane, waiting, shares, jobs, found, classes, arrivals] = reading
    const timestamp = now()
    const needs = new Map(pairsOf(classes).map(([id, text]) => [id, parseNeeds(text)]))
    const outlooks = new Map<string, ServerOutlook>()
    const running = new Map<string, JobEstimate | null>()
    const open: ForecastServer[] = []
    for (const [index, server] of servers.entries()) {
      const [costs, runs, claimed, answers, own] = found[index] ?? ['', [], [], [], '']
      const model = parseCosts(costs)
      const condition = conditionOf(server, known[index]?.reachable ?? 'no')
      const can = new Map(pairsOf(answers))
      const canRunClass = (jobClass: string) => {
        const target = needs.get(jobClass)?.target ?? ''
        return (can.get(jobClass) ?? (target === '' || target === server.id ? '1' : '0')) === '1'
      }
      let free = 0
      let loaded = model.loaded
      for (const facts of runs) {
        const left = secondsLeft(model, facts, timestamp)
        running.set(facts[0], model.samples === 0 ? null : runningFor(model, left))
        learnFromStart(facts)
        free = Math.max(free, left)
        loaded = after(loaded, unpackWorkload(facts[2]))
      }
      outlooks.set(server.id, {
        server, condition, model, running: runs.length, free, claimed: new Set(claimed.map(([id]) => id)), canRunClass
      })
      if (condition !== 'open' || !processes()) continue
      open.push({
        id: server.id,
        model,
        free,
        loaded,
        own,
        loadSeconds: model.costs[3],
        canRun: job => job.id === previewId
          ? more !== null && (more.needs.target === server.id ||
            (more.needs.target === '' && !more.needs.lacking.includes(server.id)))
          : canRunClass(job.class),
        claimed: claimed.map(facts => claimedJob(facts))
      })
    }
    const all = jobs.map(poolJob)
    const preview = more === null ? null : previewedJob(more)
    const work = [...all, ...preview === null ? [] : [preview]].reduce((sum, { ms }) => sum + ms / 1000, 0)
    const newcomers = expectNewcomers(arrivals, work / Math.max(1, open.length), timestamp)
    const expectation = newcomers.count > 0 ? 'newcomers' : 'quiet'
    const forecast = await inPieces(runForward({
      now: Number(virtual),
      laneNow: Number(virtualOfLane),
      shares: sharesOf(shares),
      jobs: all,
      preview,
      newcomers,
      waiting,
      servers: open,
      patience: { ...dial, loads: loadsWorth },
      lateness: lateness.deviations(expectation)
    }))
    const keyIds = new Map<string, string | null>()
    for (const [id, key] of jobs) keyIds.set(id, key === '' ? null : key)
    for (const [, , claimed] of found) for (const [id, key] of claimed) keyIds.set(id, key === '' ? null : key)
    const ahead = new Map<string, { jobs: number, endsIn: number }>()
    for (const { serverId, startsIn, endsIn } of forecast.jobs.values()) {
      const before = ahead.get(serverId) ?? { jobs: 0, endsIn: outlooks.get(serverId)?.free ?? 0 }
      // Without the newcomers in between.
      ahead.set(serverId, { jobs: before.jobs + 1, endsIn: before.endsIn + endsIn - startsIn })
    }
    const inLane = new Set([...all, ...preview === null ? [] : [preview]]
      .filter(({ share }) => isBackground(share)).map(({ id }) => id))
    const turns = turnsOf(forecast.jobs, id => inLane.has(id))
    const outside = [...forecast.jobs.keys()].filter(id => !inLane.has(id)).length
    const made = performance.now()
    return { forecast, expectation, running, keyIds, servers: outlooks, work: ahead, waiting, turns, outside, made }
  }

  /** A forecast that began after the question; all who ask while one is made share the next. */
  async function current (): Promise<Known> {
    if (latest !== null && latest.waiting > fewJobs && performance.now() - latest.made < validFor) return latest
    if (making === null) return await begin()
    following ??= making.then(begin, begin)
    return await following
  }

  async function begin (): Promise<Known> {
    following = null
    making = make()
    try {
      latest = await making
      return latest
    } finally {
      making = null
    }
  }

  /** Learns from a job that has begun how much longer it waited than was said. */
  function learnFromStart ([id, , , started]: JobFacts): void {
    if (started === '') return
    for (const said of expected.get(id) ?? []) {
      lateness.note(said.expectation, said, (Number(started) - said.at) / 1000)
    }
    expected.delete(id)
  }

  function remember (
    { id }: EstimatedJob, { startsIn, deviation }: Pick<Prediction, 'startsIn' | 'deviation'>, { expectation }: Known
  ): void {
    const said = expected.get(id) ?? []
    if (startsIn > soonerBy * (said.at(-1)?.startsIn ?? Infinity)) return
    if (expected.size >= maxRemembered) expected.delete(expected.keys().next().value ?? '')
    expected.set(id, [...said, { at: now(), startsIn, deviation, expectation }])
  }

  function waitingFor (job: EstimatedJob, known: Known, position: number | null, reason: string | null): string {
    const holder = [...known.servers.values()].find(({ claimed }) => claimed.has(job.id))
    if (holder !== undefined) return `${holder.server.alias}, where it is next`
    if (reason !== null) return reason
    if (position === null) return 'its next attempt'
    const turn = known.turns.get(job.id)
    return turn === undefined ? distantTurnText(position, job, known) : turnText(turn)
  }

  /** Why no server runs such a job now; null if one can. @param isKnownAble what the pool knows of a server */
  function reasonFor (
    { target, lacking, checkpoint }: Needs, { servers }: Known, isKnownAble: (serverId: string) => boolean
  ): string | null {
    const able = [...servers.values()].filter(({ server: { id } }) =>
      target === '' ? !lacking.includes(id) && isKnownAble(id) : id === target)
    return whyNever({
      able: able.map(({ server: { alias }, condition }) => ({ alias, condition })),
      ...(target === '' ? {} : { target: registry.byId(target)?.alias ?? null }),
      checkpoint,
      processes: processes()
    })
  }

  /** Positions of the waiting jobs that the forecast does not have; 0 if one does not wait any more. */
  async function positionsBeyond (jobs: readonly EstimatedJob[], known: Known): Promise<Map<string, number>> {
    const ids = jobs
      .filter(({ id, status }) => status === 'pending' && !known.running.has(id) && !known.forecast.jobs.has(id))
      .map(({ id }) => id)
    const parts: string[][] = []
    for (let at = 0; at < ids.length; at += positionsAtOnce) parts.push(ids.slice(at, at + positionsAtOnce))
    const found = (await Promise.all(parts.map(async part => await readPositions(redis, prefix, part)))).flat()
    return new Map(ids.map((id, at) => [id, found[at] ?? 0]))
  }

  /** @param rank its position, if the forecast does not have it; 0 if it does not wait any more */
  function outlookOf (job: EstimatedJob, known: Known, rank: number | null): Outlook {
    if (job.status !== 'pending' && job.status !== 'processing') return noOutlook
    const begun = known.running.get(job.id)
    // Its record and the forecast are read one after the other, and it can have begun in between.
    if (begun !== undefined) return { position: null, estimate: begun, waitingFor: null }
    if (job.status === 'processing') {
      const planned = known.forecast.jobs.get(job.id)
      const server = known.servers.get(job.serverId)
      const isTimed = planned !== undefined && server !== undefined && isLearned(job.serverId, known)
      const estimate = isTimed ? runningFor(server.model, planned.endsIn - planned.startsIn) : null
      return { position: null, estimate, waitingFor: null }
    }
    const found = known.forecast.jobs.get(job.id)
    // A server runs what the forecast has.
    const reason = found === undefined ? reasonFor(needsOfJob(job), known, id => isAble(job, id, known.servers)) : null
    const further = rank === null || rank === 0 || reason !== null ? null : known.forecast.beyond(rank)
    const prediction = found ?? further
    const position = found?.position ?? (rank === 0 ? null : rank)
    const isTimed = prediction !== null && isLearned(found?.serverId, known)
    const estimate = isTimed
      ? { startsIn: prediction.startsIn, endsIn: prediction.endsIn, endsInP90: prediction.endsInP90 }
      : null
    if (isTimed) remember(job, prediction, known)
    return { position, estimate, waitingFor: waitingFor(job, known, position, reason) }
  }

  return {
    async of (jobs) {
      if (jobs.every(({ status }) => status !== 'pending' && status !== 'processing')) {
        return jobs.map(() => noOutlook)
      }
      const known = await current()
      const ranks = await positionsBeyond(jobs, known)
      return jobs.map(job => outlookOf(job, known, ranks.get(job.id) ?? null))
    },
    async preview (job) {
      const known = await make(job)
      const found = known.forecast.jobs.get(previewId)
      if (found !== undefined) {
        const { position, startsIn, endsIn, endsInP90, serverId } = found
        const estimate = isLearned(serverId, known) ? { startsIn, endsIn, endsInP90 } : null
        const waitingFor = turnText(known.turns.get(previewId) ?? { ahead: position - 1, yields: 0 })
        return { position, estimate, serverId, waitingFor }
      }
      const reason = reasonFor(job.needs, known, () => true)
      const position = known.waiting + 1
      const waitingFor = reason ?? distantTurnText(position, job, known)
      return { position, estimate: null, serverId: null, waitingFor }
    },
    async queue (serverId) {
      const { servers, work, forecast, waiting } = await current()
      const found = servers.get(serverId)
      if (found === undefined) return { waiting: 0, running: 0, seconds: null }
      const { jobs, endsIn } = work.get(serverId) ?? { jobs: 0, endsIn: found.free }
      // Jobs that were not read are divided as those that were.
      const read = forecast.jobs.size
      const more = jobs > 0 && waiting > forecastJobs ? forecast.beyond(waiting)?.endsIn ?? 0 : 0
      const rest = jobs > 0 && waiting > forecastJobs ? Math.round((waiting - forecastJobs) * jobs / read) : 0
      return {
        waiting: Math.max(jobs, found.claimed.size) + rest,
        running: found.running,
        seconds: found.model.samples === 0 ? null : Math.max(endsIn, more)
      }
    },
    async positions (count) {
      const known = await current()
      return [...known.forecast.jobs].slice(0, count).map(([jobId, prediction]) => {
        const { position, startsIn, endsIn, endsInP90, serverId } = prediction
        const estimate = isLearned(serverId, known) ? { startsIn, endsIn, endsInP90 } : null
        return { jobId, keyId: known.keyIds.get(jobId) ?? null, position, estimate }
      })
    }
  }
}

/** What a job waits for that the forecast does not have. */
function distantTurnText (
  position: number, { background }: Pick<EstimatedJob, 'background'>, { outside }: Known
): string {
  return turnText({ ahead: position - 1, yields: background ? outside : 0 }, ' of all servers')
}

/** Whether times at a server, or at any if it is not known which, are based on generations. */
function isLearned (serverId: string | undefined, { servers }: Known): boolean {
  if (serverId !== undefined) return (servers.get(serverId)?.model.samples ?? 0) > 0
  return [...servers.values()].some(({ model }) => model.samples > 0)
}

function isAble (job: EstimatedJob, serverId: string, servers: ReadonlyMap<string, ServerOutlook>): boolean {
  return job.needs === null || servers.get(serverId)?.canRunClass(job.jobClass) === true
}
