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

/** The scripts that also change queue entries. */
export type QueueScripts = ReturnType<typeof loadQueueScripts>

/** @param queueEntries Lua functions that add and remove queue entries, from `QueuePort` */
export function loadQueueScripts (queueEntries: string) {
  const externals = { 'queue-entries': queueEntries }

  return {
    createJob: load<[
      id: string, server: string, key: string, priority: number, lane: number, bulk: string, submission: string,
      prompt: string, webhook: string, events: string, workload: string, last: number, most: number | '',
      group: string, size: number
    ], ['created', position: number, createdAt: number] | ['exists'] | ['late'] | ['full', waiting: number]>(
      'create-job', externals),

    cancelJob: load<[id: string], ['cancelled' | 'requested'] | ['ended', EndStatus] | ['gone']>(
      'cancel-job', externals),

    returnJob: load<[
      id: string, run: number, owner: string, lane: number, used: 0 | 1, crashes: 0 | 1, attempts: string,
      disposition: 'answers' | 'gone' | 'unsent' | 'stopped', allowed: number, error: string, fence: number | '',
      delay: number
    ], ['returned' | 'cancelled' | 'spent' | 'superseded' | 'lease_lost']>('return-job', externals),

    retryJob: load<[id: string, lane: number, most: number | ''],
      ['entered'] | ['active', JobStatus] | ['full', waiting: number] | ['gone']>('retry-job', externals),

    moveJob: load<[
      id: string, server: string, lane: number | 'first', run: number | '', priority: number | ''
    ], ['moved' | 'there' | 'superseded' | 'gone'] | ['not_pending', JobStatus]>('move-job', externals)
  }
}

export const startJob = load<[id: string, run: number, server: string, owner: string, fence: number],
  ['started' | 'gone' | 'superseded' | 'lease_lost']>('start-job')

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

/** Id, access key, workload, start and progress of a job. */
export type JobFacts = [id: string, key: string, workload: string, started: string, progress: string]

export const readQueue = load<[server: string, most: number],
  [costs: string, length: number, running: JobFacts[], waiting: JobFacts[]]>('read-queue')

export const matchText = load<[text: string, application: string, user: string, ...ids: string[]], string[]>('match-text')

export const matchImages = load<[text: string, model: string, ...ids: string[]], string[]>('match-images')

export const countImages = load<string[], number>('count-images')
