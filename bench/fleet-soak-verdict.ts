import { setTimeout as sleep } from 'node:timers/promises'
import type { Job, JobAttempt } from '../src/jobs/job.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { GenerationRecord, Simulator } from '../src/simulator/simulator.ts'
import { findProblems, readJobs, type StreamEvent } from '../test/support/consistency.ts'
import { findEntryProblems } from '../test/support/pool-consistency.ts'
import type { Environment } from './environment/environment.ts'

/** One process of the service. */
export interface Life {
  readonly readLog: () => Promise<string>
  /** When it was killed or stopped, in milliseconds since the epoch; null if it lives. */
  killedAt: number | null
  /** From when until when it, or Redis, was frozen: it can lose its leases then without noticing. */
  readonly frozen: Array<readonly [from: number, to: number]>
}

export interface FleetTraces {
  readonly environment: Environment
  readonly keys: Keys
  readonly accepted: readonly string[]
  /** How often each job was possibly retried by a client. */
  readonly retries: ReadonlyMap<string, number>
  readonly lives: readonly Life[]
  readonly simulators: ReadonlyMap<string, Simulator>
  /** All since the beginning. */
  readonly events: readonly StreamEvent[]
  /** The types of events that the receiver of the webhooks got, by job. */
  readonly received: ReadonlyMap<string, { readonly types: ReadonlySet<string> }>
  /** For how long BullMQ can take to tidy up what dead workers held, in milliseconds. */
  readonly patience: number
}

export interface Verdict {
  readonly lines: readonly string[]
  readonly ok: boolean
}

interface Generation extends Readonly<GenerationRecord> { readonly server: string }

/** Generations that the jobs can take if nothing dies: the default of JOB_ATTEMPTS. */
const attempts = 3

/** Compares what jobs, servers, queues and receivers say about each other. */
export async function judgeFleet (traces: FleetTraces): Promise<Verdict> {
  const { environment: { redis, folder }, keys, accepted, retries, events, received, lives } = traces
  const look = { look: redis, keys }
  const jobs = await readJobs(look)
  const all = [...traces.simulators].flatMap(([server, simulator]) =>
    simulator.state().generations.map((one): Generation => ({ ...one, server })))
  const generations = new Map<string, Generation[]>()
  for (const one of all.toSorted((before, after) => before.startedAt - after.startedAt)) {
    const { taskId } = one
    if (taskId !== null) generations.set(taskId, [...generations.get(taskId) ?? [], one])
  }
  const lost = [...jobs.values()].filter(({ id, status }) => received.get(id)?.types.has(`job.${status}`) !== true)
    .map(({ id, status }) => `${id} is ${status}, and no webhook said so`)
  const reasons = await findReasons(lives, events, generations)
  const seen = new Map([...jobs.values()].map(job =>
    [job.id, { job, generations: generations.get(job.id) ?? [], reasons: reasons.get(job.id) ?? [] }]))
  const frozen = lives.flatMap(life => life.frozen)
  const doubled = [...seen.values()].filter(one => toTheEnd(one.generations).length > 1)
  const unexplained = doubled.flatMap(one => findUnexplained(one, retries.get(one.job.id) ?? 0, frozen))
  const tooOften = [...seen.values()].flatMap(one => findTooOften(one, retries.get(one.job.id) ?? 0))
  const crowds = [...traces.simulators].flatMap(([server, simulator]) => simulator.state().crowds.map(crowd => {
    const stories = [...new Set(crowd.taskIds)].map(id => {
      const one = seen.get(id ?? '')
      return one === undefined ? id : tell(one)
    })
    return `${server} had ${crowd.taskIds.length} at once, ${timeOf(crowd.at)}: ${stories.join(' | ')}`
  }))
  const problems = [
    ...await findProblems(accepted, { ...look, dataDirectory: folder, events }),
    ...await findEntryProblems(look),
    ...await findLeftEntries(traces),
    ...await findStolen(lives),
    ...await findOwnFaults(lives),
    ...lost,
    ...unexplained,
    ...tooOften,
    ...crowds
  ]
  const count = (status: string) => [...jobs.values()].filter(job => job.status === status).length
  const codes = new Map<string, number>()
  for (const { error } of [...jobs.values()].flatMap(job => job.attempts)) {
    codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
  }
  const failures = [...jobs.values()].flatMap(({ error }) => error === null ? [] : [error.code])
  return {
    ok: problems.length === 0,
    lines: [
      `jobs accepted: ${accepted.length}; in Redis: ${jobs.size}; completed: ${count('completed')}, cancelled: ` +
        `${count('cancelled')}, failed: ${count('failed')} (${[...new Set(failures)].join(', ')})`,
      `generations: ${all.length}; jobs generated to the end more than once: ${doubled.length}, of which without a ` +
        `reason: ${unexplained.length}`,
      `generations that failed: ${[...codes].map(([code, times]) => `${code} ${times}`).join(', ')}`,
      `most generations at one server at once: ${Math.max(...[...traces.simulators.values()].map(one => one.state().maxInFlight))}`,
      `lost, ended twice or inconsistent: ${problems.length}`,
      ...problems
    ]
  }
}

const toTheEnd = (generations: readonly Generation[] = []) =>
  generations.filter(({ outcome, interrupted }) => outcome === 'done' && !interrupted)

/** By how much the clocks of a server and of the service differ, and how long an answer is on its way; in ms. */
const slack = 1000
/** How long Redis can take to answer: it is frozen for 8 s at most. In milliseconds. */
const longestWait = 10_000

/** Why a generation of a job counted for nothing, although no attempt of its record says so. */
interface Reason {
  /**
   * `stopped`: a worker stopped it in order. `taken`: a client or the pool took the job away in the moment in which it
   * was sent, and a short generation ends before the interrupt arrives. `died`: its worker was killed before Redis had
   * noted that it began.
   */
  readonly kind: 'stopped' | 'taken' | 'died'
  /** Milliseconds since the epoch: of the log line, or for `died` of the kill. */
  readonly at: number
}

/** A job, its generations in the order of their begin, and why some of them counted for nothing. */
interface Seen {
  readonly job: Job
  readonly generations: readonly Generation[]
  readonly reasons: readonly Reason[]
}

/**
 * A job that was generated to the end again although nothing says that the former generation failed. Each failed
 * generation is an attempt of the record, a retry by a client begins again, and the rest has a reason of its own.
 */
function findUnexplained (seen: Seen, retries: number, frozen: Life['frozen']): string[] {
  const { job, generations, reasons } = seen
  const ended = toTheEnd(generations)
  const explained = ended.slice(0, -1).filter(({ server, startedAt }, index) => {
    // Redis answers late while it is frozen; until then the job can begin nowhere else.
    const next = ended[index + 1]?.startedAt ?? Infinity
    const until = { stopped: next + slack, taken: next + slack, died: startedAt + slack }
    // A worker that was frozen right before its request sends that when it goes on.
    const sentBy = ({ endedAt }: JobAttempt) => Math.max(endedAt, ...frozen
      .filter(([from, to]) => from < endedAt && to > endedAt).map(([, to]) => to)) + slack
    return job.attempts.some(attempt =>
      attempt.server === server && attempt.startedAt - slack < startedAt && sentBy(attempt) > startedAt) ||
      reasons.some(({ kind, at }) => at > startedAt - (kind === 'stopped' ? 0 : slack) && at < until[kind])
  })
  if (ended.length - 1 - explained.length <= retries) return []
  return [`generated to the end ${ended.length} times, retried ${retries} times: ${tell(seen)}`]
}

const timeOf = (at: number) => new Date(at).toISOString().slice(11, 23)

/** All that is known of a job's generations, in one line. */
function tell ({ job, generations, reasons }: Seen): string {
  const sent = generations.map(one => `${one.server} ${timeOf(one.startedAt)}–${timeOf(one.finishedAt ?? 0)} ` +
    `${one.outcome}${one.interrupted ? ' interrupted' : ''}`)
  const failed = job.attempts.map(attempt =>
    `${attempt.server} run ${attempt.run} ${timeOf(attempt.startedAt)} ${attempt.error.code}`)
  const why = reasons.map(({ kind, at }) => `${kind} ${timeOf(at)}`)
  return `${job.id}, ${job.status}, run ${job.run}, begun ${job.starts} times, sends ${job.sends}, deaths ${job.deaths}` +
    `; generations: ${sent.join(', ')}; attempts: ${failed.join(', ')}; reasons: ${why.join(', ')}`
}

/**
 * A generation is noted as a start, except one of each job at the most: the first, if its worker is killed or the job
 * is taken away before the note. Each start ends as an attempt or as the end of the job, unless its worker stops in
 * order.
 */
function findTooOften (seen: Seen, retries: number): string[] {
  const { job, generations, reasons } = seen
  const stopped = reasons.filter(({ kind }) => kind === 'stopped').length
  const isTooOften = generations.length > job.starts + 1 ||
    job.starts > job.attempts.length + 1 + retries + stopped ||
    job.sends > attempts + job.deaths
  return isTooOften ? [`sent too often, retried ${retries} times: ${tell(seen)}`] : []
}

/** Entries of the queues that no worker will ever tidy up. */
async function findLeftEntries ({ environment: { redis }, keys, patience }: FleetTraces): Promise<string[]> {
  const left = async () => {
    const names: string[] = []
    for (const state of ['active', 'wait', 'delayed', 'prioritized']) {
      for await (const page of redis.scanStream({ match: keys.key('bull', '*', state), count: 1000 })) {
        for (const key of page as string[]) if (/bull:(waiting|generation-[^:]*):/.test(key)) names.push(key)
      }
    }
    return names
  }
  for (const end = performance.now() + patience; performance.now() < end; await sleep(500)) {
    if ((await left()).length === 0) return []
  }
  return await Promise.all((await left()).map(async name => {
    const entries = /:(active|wait)$/.test(name) ? await redis.lrange(name, '0', '9') : await redis.zrange(name, '0', '9')
    const queue = name.slice(0, name.lastIndexOf(':'))
    // The lock of an entry whose worker lives is renewed: then that run hangs.
    const told = await Promise.all(entries.map(async entry =>
      `${entry} ${await redis.exists(`${queue}:${entry}:lock`) === 1 ? 'is locked' : 'has no lock'}`))
    return `${name} has entries although no job waits: ${told.join(', ')}`
  }))
}

interface Line {
  readonly time: number
  readonly msg: string
  readonly job?: string
  readonly server?: string
  readonly stopReason?: string
}

async function readLines (life: Life): Promise<Array<Line & { readonly at: number }>> {
  return (await life.readLog()).split('\n').flatMap(text => {
    if (!text.startsWith('{')) return []
    const line = JSON.parse(text) as Line
    return [{ ...line, at: line.time }]
  })
}

const takings = new Set(['moved', 'changed', 'cancelled'])

/** By job. */
async function findReasons (
  lives: readonly Life[], events: readonly StreamEvent[], generations: ReadonlyMap<string, readonly Generation[]>
): Promise<Map<string, Reason[]>> {
  const taken = events.filter(({ fields }) => takings.has(fields.kind ?? ''))
    .map(({ id, fields }) => ({ job: fields.job, at: Number(id.split('-')[0]) }))

  function kindOf ({ msg, job, stopReason, at }: Line & { readonly at: number }, { killedAt }: Life): Reason['kind'] | null {
    if (msg === 'generation stopped') return stopReason === 'shutdown' ? 'stopped' : null
    if (msg === 'generation started') return killedAt !== null && killedAt - at < slack ? 'died' : null
    // Without an event that says so, the refusal of its start is a fault.
    const isTaken = msg.startsWith('the job was taken away while it began') &&
      taken.some(event => event.job === job && Math.abs(event.at - at) < longestWait)
    return isTaken ? 'taken' : null
  }

  const reasons = new Map<string, Reason[]>()
  const started = new Map<string, number[]>()
  for (const life of lives) {
    for (const line of await readLines(life)) {
      const { job = '', at } = line
      const kind = kindOf(line, life)
      if (kind !== null) reasons.set(job, [...reasons.get(job) ?? [], { kind, at }])
      if (line.msg === 'generation started') started.set(job, [...started.get(job) ?? [], at])
    }
  }
  // The log line comes after the request: a worker can be killed between the two.
  const kills = lives.flatMap(({ killedAt }) => killedAt ?? [])
  for (const [job, all] of generations) {
    const died = all.flatMap(({ startedAt }) => {
      const isNear = (at: number) => Math.abs(at - startedAt) < slack
      return started.get(job)?.some(isNear) === true ? [] : kills.filter(isNear).slice(0, 1)
    })
    if (died.length > 0) reasons.set(job, [...reasons.get(job) ?? [], ...died.map(at => ({ kind: 'died', at } as const))])
  }
  return reasons
}

/** Jobs that a process took for those of a dead worker although that process lived and had not lost its lease. */
async function findStolen (lives: readonly Life[]): Promise<string[]> {
  const logs = await Promise.all(lives.map(async life => ({ life, lines: await readLines(life).catch(() => []) })))
  return logs.flatMap(({ lines, life: taker }) => lines.filter(({ msg }) => msg.startsWith('its worker is gone')).flatMap(taken => {
    const starts = logs.flatMap(({ life, lines: own }) => own
      .filter(({ msg, job, at }) => msg === 'generation started' && job === taken.job && at <= taken.at)
      .map(start => ({ life, start, own })))
    const last = starts.toSorted((one, other) => other.start.at - one.start.at)[0]
    if (last === undefined || last.life === taker) return []
    const leftIt = last.own.some(({ msg, server, at }) =>
      at >= last.start.at && at <= taken.at && server === taken.server && msg.startsWith('another process serves this server'))
    const wasFrozen = last.life.frozen.some(([from, to]) => from <= taken.at && to >= last.start.at)
    const died = last.life.killedAt !== null && last.life.killedAt <= taken.at
    return leftIt || wasFrozen || died ? [] : [`${taken.job ?? ''} was taken from a worker that lived, on ${taken.server ?? ''} at ${taken.at}`]
  }))
}

/** Sentences of a process about faults of its own. */
async function findOwnFaults (lives: readonly Life[]): Promise<string[]> {
  const bad = /UnhandledPromiseRejection|the process has to end|FATAL ERROR|heap out of memory|ERR_ASSERTION|TypeError/
  const logs = await Promise.all(lives.map(async ({ readLog }) => await readLog().catch(() => '')))
  return logs.flatMap(text => text.split('\n').filter(line => bad.test(line)).map(line => line.slice(0, 300)))
}
