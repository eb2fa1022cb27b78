import type { EndStatus, JobStatus } from '../../../schemas/job.ts'
import { type Externals, loadScript, type Script, type ScriptArgument } from '../../redis/scripts.ts'

/**
 * Every change of a job is one script, so that no two processes can both make it. Each checks the current state;
 * scripts for a running generation also check run and owner (fencing), so a late worker overwrites nothing. After a
 * lost connection ioredis sends a command again; the same claim then gets the same answer, which is why an owner stays
 * in the record after its run.
 */
type JobScript<Args extends readonly ScriptArgument[], Answer> = Script<[prefix: string], Args, Answer>

function load<Args extends readonly ScriptArgument[], Answer> (
  name: string, externals?: Externals
): JobScript<Args, Answer> {
  return loadScript(new URL(`${name}.lua`, import.meta.url), externals)
}

/** What became of a new job; an error is that of one job. */
export type CreateAnswer = ['created', position: number, createdAt: number, server: string] | ['exists'] | ['late'] |
  ['full', waiting: number] | Error

function readQueueScripts (queueEntries: string) {
  const externals = { 'queue-entries': queueEntries }
  return {
    createJob: load<[
      id: string, target: string, key: string, priority: number, bulk: string, submission: string, prompt: string,
      webhook: string, events: string, workload: string, last: number, most: number | '', group: string, size: number,
      jobClass: string, needs: string, ms: number, weight: number, user: string, dial: string, application: string,
      lane: '1' | '', ...further: ScriptArgument[]
    ], CreateAnswer[]>('create-job', externals),

    claimJob: load<[server: string, fence: number, facts: string, dial: string, idle: 'idle' | ''],
      ['claimed', passedOver: number, id: string, record: string[]] | ['ready' | 'lease_lost'] |
      ['none', restMs: number] |
      ['unknown', ...classes: string[]]>('claim-job', externals),

    unclaimJob: load<[
      server: string, id: string, fence: number | '', jobClass: string, needs: string, restMs: number, dial: string
    ], string[]>('unclaim-job', externals),

    returnJob: load<[
      id: string, run: number, owner: string, jobClass: string, needs: string, used: 0 | 1, crashes: 0 | 1,
      attempts: string, disposition: 'answers' | 'gone' | 'unsent' | 'stopped', allowed: number, error: string,
      fence: number | '', restMs: number, dial: string
    ], ['returned', run: string] | ['cancelled' | 'spent' | 'superseded' | 'lease_lost']>('return-job', externals),

    cancelJob: load<[id: string],
      ['cancelled' | 'requested'] | ['ended', EndStatus] | ['gone']>('cancel-job', externals),

    retryJob: load<[id: string, most: number | '', jobClass: string, needs: string, dial: string],
      ['entered', run: string, position: number] | ['active', JobStatus] | ['full', waiting: number] |
      ['gone']>('retry-job', externals),

    adoptJob: load<[
      id: string, server: string, fence: number, target: string, jobClass: string, needs: string, ms: number,
      weight: number, user: string
    ], 0 | 1>('adopt-job', externals),

    repairWaiting: load<[what: 'missing' | 'void', after: string, most: number], [last: string, changed: number]>(
      'repair-waiting', externals),

    readPool: load<[most: number, share: string, ...servers: string[]], PoolReading>('read-pool', externals),

    readOrder: load<[server: string, most: number], string[]>('read-order', externals),

    editJob: load<[
      id: string, run: number, target: string, submission: string, prompt: string, workload: string, jobClass: string,
      needs: string, ms: number, application: string, user: string, dial: string
    ], ['edited', run: string, position: number] | ['not_pending', JobStatus] | ['superseded'] | ['gone']>(
      'edit-job', externals),

    moveJob: load<[
      id: string, how: 'first' | 'next' | 'last' | 'express' | 'before' | 'lane' | 'priority' | 'target' | 'renew',
      value: string | number, detail: string | number, needs: string, dial: string
    ], ['moved', run: string, position: number] | ['not_pending', JobStatus] |
      ['there'] | ['not_waiting'] | ['other_lane'] | ['superseded'] | ['earlier'] | ['gone']>('move-job', externals)
  }
}

/** What the forecast reads of the pool and the servers. */
export type PoolReading = [
  virtual: string, virtualOfLane: string, waiting: number, shares: string[],
  jobs: Array<[
    id: string, key: string, workload: string, list: string, order: string, member: string, skips: string, user: string
  ]>,
  servers: Array<[costs: string, running: JobFacts[], claimed: JobFacts[], can: string[], own: string]>,
  classes: string[],
  arrivals: string[]
]

/** The scripts that also change queue entries. */
export type QueueScripts = ReturnType<typeof readQueueScripts>

/** By the functions that they include: a process asks five times, with the same ones. */
const queueScripts = new Map<string, QueueScripts>()

/** @param queueEntries Lua functions that add and remove queue entries, from `QueuePort` */
export function loadQueueScripts (queueEntries: string): QueueScripts {
  const scripts = queueScripts.get(queueEntries) ?? readQueueScripts(queueEntries)
  queueScripts.set(queueEntries, scripts)
  return scripts
}

export const startJob = load<[id: string, run: number, server: string, owner: string, fence: number],
  ['started' | 'gone' | 'superseded' | 'lease_lost' | 'closed']>('start-job')

/** The jobs that a lost process can have sent to the server without a note in their records. */
export const takeOver = load<[server: string, fence: number], string[]>('take-over')

export const noteProgress = load<[id: string, run: number, owner: string, progress: string],
  ['noted' | 'cancel' | 'superseded']>('note-progress')

export const endJob = load<[
  id: string, run: number, owner: string, status: EndStatus, result: string, error: string, attempts: string,
  ...outputs: string[]
], ['ended', EndStatus] | ['superseded']>('end-job')

export const removeJob = load<[id: string, ...outputs: string[]],
  ['removed'] | ['active', JobStatus] | ['gone']>('remove-job')

export const forgetOutput = load<[id: string, before: string, after: string, name: string],
  ['forgotten' | 'changed' | 'gone']>('forget-output')

/** The position of each job, from 1; 0 if it does not wait. */
export const readPositions = load<string[], number[]>('read-positions')

/** Notes for classes of jobs whether a server can run them, as `class, answer, …`. */
export const noteClasses = load<[server: string, fence: number, ...answers: string[]], 0 | 1>('note-classes')

/** Id, access key, workload, start and progress of a job. */
export type JobFacts = [id: string, key: string, workload: string, started: string, progress: string]

/** Status, server and stamp of each job: `status, server, stamp, …`. */
export const readStamps = load<string[], string[]>('read-stamps')

type PageOfIndex = [
  order: 'newest' | 'oldest', lowest: string, highest: string, after: string, offset: number, most: number
]

/** A page of an index: how many jobs are within the bounds, and `id, arrival, …`. */
export const readPage: Script<[index: string], PageOfIndex, [total: number, ...found: string[]]> =
  loadScript(new URL('read-page.lua', import.meta.url))

/** The same of the jobs that are not in a part of the index. */
export const readPageOutside: Script<[index: string, part: string], PageOfIndex, [total: number, ...found: string[]]> =
  loadScript(new URL('read-page-outside.lua', import.meta.url))

/** The error codes of an index of failed jobs, after 1; only 0 while the indexes of the codes differ from it. */
export const listCauses: Script<[prefix: string, failed: string], [], [isComplete: 0 | 1, ...codes: string[]]> =
  loadScript(new URL('list-causes.lua', import.meta.url))

/** Compares jobs of an index with their records; where it ended, or an empty text. */
export const checkCauses: Script<[prefix: string, index: string], [after: string, most: number], string> =
  loadScript(new URL('check-causes.lua', import.meta.url))

/**
 * The counter of the changes, how many blocks there are, those that changed since, with their first arrivals, and if
 * none did, the ids of the arrivals.
 */
export const readSearchState: Script<[prefix: string, index: string], [since: string, ...arrivals: string[]],
  ['incomplete'] | [changes: string, blocks: number, changed: string[], ids: string[]]> =
  loadScript(new URL('search-state.lua', import.meta.url))

/** For each block that it looked through, how many jobs match, or their arrivals, separated by commas. */
export const searchBlocks: Script<[prefix: string, index: string, within: string, without: string], [
  text: string, application: string, user: string, what: 'arrivals' | 'count', bytes: number, ...blocks: string[]
], string[]> = loadScript(new URL('search-blocks.lua', import.meta.url))

/** The ids of jobs by their arrivals; '' for those that are not in the index. */
export const readArrived: Script<[index: string], string[], string[]> = loadScript(new URL('read-arrived.lua', import.meta.url))

/** Enters jobs into the search text; 1 if some are left. */
export const enterSearchText = load<[most: number], 0 | 1>('fill-search')

export const sealBlock = load<[block: string, before: string, text: string, words: string, fresh: string], 0 | 1>('seal-block')

export const matchText = load<[text: string, application: string, user: string, ...ids: string[]], string[]>('match-text')

export const matchImages = load<[text: string, model: string, ...ids: string[]], string[]>('match-images')

export const countImages = load<string[], number>('count-images')
