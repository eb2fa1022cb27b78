import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { codeOf } from '../../src/jobs/causes.ts'
import { parseJob, type Job } from '../../src/jobs/job.ts'
import type { Keys } from '../../src/lib/keys.ts'
import { findPoolProblems } from './pool-consistency.ts'

/** The Redis, images and events of a service's jobs. */
export interface Traces {
  readonly look: Redis
  readonly keys: Keys
  readonly dataDirectory: string
  readonly processes?: ReadonlyArray<{ output (): string }>
  /** All events since the beginning, if there are more than the stream keeps; otherwise the stream's own. */
  readonly events?: readonly StreamEvent[]
}

/** One entry of the stream of events. */
export interface StreamEvent {
  readonly id: string
  readonly fields: Readonly<Record<string, string>>
}

const endStatuses = ['completed', 'failed', 'cancelled']

/**
 * The inconsistencies in the jobs of an idle service. In a consistent one, each accepted job has ended exactly once,
 * records, indexes and pool agree, images that records name exist, and no process ended by an error of its own.
 */
export async function findProblems (
  accepted: Iterable<string>, traces: Traces, known?: ReadonlyMap<string, Job>
): Promise<string[]> {
  const jobs = known ?? await readJobs(traces)
  return [
    ...[...accepted].filter(id => !endStatuses.includes(jobs.get(id)?.status ?? '')).map(id =>
      `${id} was accepted and is ${jobs.get(id)?.status ?? 'lost'}`),
    ...await eventProblems(traces, jobs),
    ...await findIndexProblems(traces, jobs),
    ...await findPoolProblems(traces),
    ...await imageProblems(traces, jobs),
    ...processProblems(traces)
  ]
}

/** Every job that has a record, by id. */
export async function readJobs ({ look, keys }: Pick<Traces, 'look' | 'keys'>): Promise<Map<string, Job>> {
  const beginning = keys.key('job', '')
  const ids = (await namesOf(look, `${beginning}*`)).map(name => name.slice(beginning.length))
  // Other keys of a job, such as the list of its deliveries, contain its id.
  const jobs = await Promise.all(ids.filter(id => !id.includes(':')).map(async id =>
    parseJob(id, await look.hgetall(keys.key('job', id)))))
  return new Map(jobs.flatMap(job => job === null ? [] : [[job.id, job]]))
}

/** The events after the one with this id, or all that the stream keeps. */
export async function readEvents ({ look, keys }: Pick<Traces, 'look' | 'keys'>, after?: string): Promise<StreamEvent[]> {
  const entries = await look.xrange(keys.key('events'), after === undefined ? '-' : `(${after}`, '+')
  return entries.map(([id, fields]) => ({
    id, fields: Object.fromEntries(fields.flatMap((name, index) => index % 2 === 0 ? [[name, fields[index + 1] ?? '']] : []))
  }))
}

/** Between two acceptances of a job there is exactly one end, and the last end matches its record. */
async function eventProblems (traces: Traces, jobs: ReadonlyMap<string, Job>): Promise<string[]> {
  const stories = new Map<string, string[]>()
  for (const { fields: event } of traces.events ?? await readEvents(traces)) {
    const story = stories.get(event.job ?? '') ?? []
    story.push(event.kind ?? '')
    stories.set(event.job ?? '', story)
  }
  return [...stories].flatMap(([id, story]) => {
    const turningPoints = story.filter(kind => kind === 'accepted' || endStatuses.includes(kind))
    const alternates = turningPoints.every((kind, index) => (kind === 'accepted') === (index % 2 === 0))
    const job = jobs.get(id)
    const ends = story.includes('removed') || turningPoints.at(-1) === job?.status
    return alternates && ends ? [] : [`${id}, now ${job?.status ?? 'gone'}, went ${story.join(', ')}`]
  })
}

/** Where indexes and records differ, at any moment. */
export async function findIndexProblems (
  traces: Pick<Traces, 'look' | 'keys'>, known?: ReadonlyMap<string, Job>
): Promise<string[]> {
  const { look, keys } = traces
  const jobs = known ?? await readJobs(traces)
  const wanted = new Map<string, Set<string>>()
  const codes = new Set<string>()
  for (const job of jobs.values()) {
    const { id, keyId, serverId, status, background } = job
    const states = ['*', status]
    if (status === 'failed') {
      states.push(`failed:${codeOf(job)}`)
      codes.add(codeOf(job))
    }
    const owners = keyId === null ? ['*'] : ['*', keyId]
    for (const key of background ? [...owners, ...owners.map(owner => `~${owner}`)] : owners) {
      for (const server of ['*', serverId]) {
        for (const state of states) {
          const name = keys.key('jobs', key, server, state)
          wanted.set(name, (wanted.get(name) ?? new Set()).add(id))
        }
      }
    }
  }
  const problems: string[] = []
  const listed = new Set(await look.smembers(keys.key('causes')))
  for (const code of codes) if (!listed.has(code)) problems.push(`${code} is not listed as a cause`)
  for (const code of listed) if (!codes.has(code)) problems.push(`${code} is listed as a cause of no job`)
  const indexes = await namesOf(look, `${keys.key('jobs', '')}*`)
  await Promise.all([...new Set([...indexes, ...wanted.keys()])].map(async name => {
    const found = new Set(await look.zrange(name, '0', '-1'))
    const expected = wanted.get(name) ?? new Set()
    for (const id of found) if (!expected.has(id)) problems.push(`${name} has ${id}, which does not belong there`)
    for (const id of expected) if (!found.has(id)) problems.push(`${name} lacks ${id}`)
  }))
  return [...problems, ...await findSearchProblems(traces)]
}

/** Where the search text and the records differ, at any moment. */
async function findSearchProblems ({ look, keys }: Pick<Traces, 'look' | 'keys'>): Promise<string[]> {
  const blocks = await look.zrange(keys.key('search'), '0', '-1', 'WITHSCORES')
  const from = await look.get(keys.key('search-from')) ?? 'inf'
  const wanted = new Set(await look.zrangebyscore(keys.key('jobs', '*', '*', '*'), from, '+inf'))
  const problems: string[] = []
  const found = new Set<string>()
  for (let at = 0; at < blocks.length; at += 2) {
    const [block = '', first] = [blocks[at], Number(blocks[at + 1])]
    if (first < Number(from)) continue
    const text = await look.get(keys.key('search', block)) ?? ''
    const entries = text.split('\x03').map(entry => entry.split('\x02,'))
    if (entries[0]?.[0] !== '' || entries.slice(1).some(([, ids]) => ids?.endsWith(',') !== true)) {
      problems.push(`block ${block} is garbled`)
    }
    for (const [head = '', ids = ''] of entries) {
      const [searched] = head.split('\0')
      await Promise.all(ids.split(',').filter(Boolean).map(async id => {
        if (found.has(id)) problems.push(`${id} is searched twice`)
        found.add(id)
        const [prompt, arrival] = await look.hmget(keys.key('job', id), 'prompt', 'arrival')
        const isBehind = at + 2 < blocks.length && Number(arrival) >= Number(blocks[at + 3])
        if (Number(arrival) < first || isBehind) problems.push(`${id} is in another block than its own`)
        if (searched !== prompt?.replace(/[A-Z]+/g, letters => letters.toLowerCase())) {
          problems.push(`${id} is searched by ${searched}`)
        }
      }))
    }
  }
  for (const id of wanted) if (!found.has(id)) problems.push(`${id} is not searched`)
  for (const id of found) if (!wanted.has(id)) problems.push(`${id} is searched without a record`)
  return problems
}

async function imageProblems ({ dataDirectory }: Traces, jobs: ReadonlyMap<string, Job>): Promise<string[]> {
  const problems: string[] = []
  for (const job of jobs.values()) {
    for (const image of job.result?.images ?? []) {
      const found = await stat(join(dataDirectory, 'outputs', image.name)).catch(() => null)
      if (found?.size !== image.bytes) problems.push(`${job.id} lacks ${image.name}: ${found?.size ?? 'no'} bytes`)
    }
    if (job.status === 'completed' && job.result?.images.length === 0) problems.push(`${job.id} has no image`)
  }
  return problems
}

function processProblems ({ processes = [] }: Traces): string[] {
  const bad = /UnhandledPromiseRejection|the process has to end|FATAL ERROR|heap out of memory/
  return processes.flatMap(process => process.output().split('\n').filter(line => bad.test(line)))
}

async function namesOf (look: Redis, pattern: string): Promise<string[]> {
  const names: string[] = []
  for await (const page of look.scanStream({ match: pattern, count: 1000 })) names.push(...page as string[])
  return names
}

/** Output files that no record names, such as those of a killed worker; the media sweep can remove them. */
export async function unreferencedImages (
  { dataDirectory }: Traces, jobs: ReadonlyMap<string, Job>
): Promise<string[]> {
  const named = new Set([...jobs.values()].flatMap(job => job.result?.images.map(({ name }) => name) ?? []))
  return (await readdir(join(dataDirectory, 'outputs'))).filter(name => !name.startsWith('.') && !named.has(name))
}
