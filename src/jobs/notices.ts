import type { Redis } from 'ioredis'
import { hasEnded } from '../../schemas/job.ts'
import { withDeadline } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Job } from './job.ts'
import type { JobStore } from './store.ts'

/** Waits for jobs without polling: many waiters, one subscription. */
export interface JobNotices {
  /**
   * The job once it has finished; at once if it already has.
   * @throws ServiceError `job_not_found` if it is removed; Error if the signal is aborted
   */
  ended (jobId: string, signal: AbortSignal): Promise<Job>
  close (): void
}

export interface JobNoticesDependencies {
  /** A connection in subscriber mode, which this process shares and the caller closes. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly store: Pick<JobStore, 'get'>
}

/** Makes a waiter check its job again. */
type Look = () => void

/** Milliseconds from a failed check to the next one. */
const lookAgainMs = 1000

const endings = new Set<unknown>(['completed', 'failed', 'cancelled', 'removed'])

/**
 * Listens on the channel `jobs`. Messages that are published while the connection is down are lost, so after each
 * reconnection every waiter checks its job.
 */
export async function createJobNotices ({ subscriber, keys, store }: JobNoticesDependencies): Promise<JobNotices> {
  const channel = keys.channel('jobs')
  const waiting = new Map<string, Set<Look>>()

  function hear (from: string, message: string): void {
    if (from !== channel || waiting.size === 0) return
    const { job, kind } = JSON.parse(message) as { job: string, kind: string }
    if (endings.has(kind)) waiting.get(job)?.forEach(look => { look() })
  }

  /** Subscribe first: a job that finishes between a check and the subscription would go unnoticed. */
  function returned (): void {
    subscriber.subscribe(channel).then(() => {
      for (const looks of waiting.values()) looks.forEach(look => { look() })
    }, () => { /* away again; the next return comes here too */ })
  }

  function enter (jobId: string, look: Look): void {
    const looks = waiting.get(jobId) ?? new Set()
    looks.add(look)
    waiting.set(jobId, looks)
  }

  function leave (jobId: string, look: Look): void {
    const looks = waiting.get(jobId)
    looks?.delete(look)
    if (looks?.size === 0) waiting.delete(jobId)
  }

  subscriber.on('message', hear)
  subscriber.on('ready', returned)
  await subscriber.subscribe(channel)

  return {
    async ended (jobId, signal) {
      signal.throwIfAborted()
      let stop = () => {}
      try {
        return await new Promise<Job>((resolve, reject) => {
          let again: NodeJS.Timeout | undefined
          const look = () => {
            clearTimeout(again)
            store.get(jobId).then(
              job => { if (hasEnded(job.status)) resolve(job) },
              error => {
                if (error instanceof ServiceError) reject(error)
                // Redis is away; the connection for notices has perhaps not noticed.
                else if (waiting.get(jobId)?.has(look) === true) again = setTimeout(look, lookAgainMs)
              })
          }
          const giveUp = () => { reject(new Error('no caller waits any more', { cause: signal.reason })) }
          signal.addEventListener('abort', giveUp, { once: true })
          enter(jobId, look)
          stop = () => {
            clearTimeout(again)
            signal.removeEventListener('abort', giveUp)
            leave(jobId, look)
          }
          look()
        })
      } finally {
        stop()
      }
    },
    close () {
      subscriber.off('message', hear)
      subscriber.off('ready', returned)
      // The channel can have other listeners in this process; it closes with the connection.
      waiting.clear()
    }
  }
}

/**
 * Resolves when a job has finished or the seconds are over, at once if the client has disconnected.
 * @throws ServiceError `job_not_found` if it is removed meanwhile
 */
export type JobWait = (jobId: string, seconds: number, gone: AbortSignal) => Promise<void>

/** @param stopping aborted when the service is about to stop, so that no client is kept waiting */
export function createJobWait (notices: Pick<JobNotices, 'ended'>, stopping: AbortSignal): JobWait {
  return async (jobId, seconds, gone) => {
    await withDeadline(seconds * 1000, [gone, stopping], async signal => {
      await notices.ended(jobId, signal).catch(error => { if (error instanceof ServiceError) throw error })
    })
  }
}
