import { hasEnded } from '../../schemas/job.ts'
import { maySeeJob, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { isAfter } from '../../src/events/event.ts'
import type { EventFeed } from '../../src/events/event-bus.ts'
import { createEventFilter, type EventFilter } from '../../src/events/filter.ts'
import { follow } from '../../src/events/catch-up.ts'
import { endOf, isLast, readStory } from '../../src/jobs/history.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import type { JobViews } from '../api/job-views.ts'
import type { EventOutlet } from './subscriber.ts'
import { resetMessage, snapshotEvent, streamEvent } from './render-event.ts'

/** What a listener wants of one job. */
export interface JobWish {
  readonly jobId: string
  /** The last event that it got; null where it is new. */
  readonly asked: string | null
  readonly kinds?: string | undefined
}

/** Tells the events of one job. Resolves when the listener has got what it missed. */
export type TellJob = (outlet: EventOutlet) => Promise<void>

export interface JobTeller {
  /**
   * What is to be told; null where the listener knows the end already.
   * @throws ServiceError `job_not_found`, also for another's, or about `kinds`
   */
  prepare (wish: JobWish, principal: Principal): Promise<TellJob | null>
}

export interface JobTellerDependencies {
  readonly feed: EventFeed
  readonly store: Pick<JobStore, 'find'>
  readonly registry: ServerRegistry
  readonly jobViews: JobViews
}

/** A snapshot first and the end last, which is told to everybody who asks, however late. */
export function createJobTeller ({ feed, store, registry, jobViews }: JobTellerDependencies): JobTeller {
  const notFound = (jobId: string) => new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })

  async function snapshot (outlet: EventOutlet, id: string, job: Job): Promise<void> {
    outlet.view(snapshotEvent(id, await jobViews.one(job)))
  }

  /**
   * About a job of which nothing more is to come. What is kept of it outlives the job itself.
   * @param head where the stream stood before the job was read
   */
  async function aboutEnded (
    { jobId, asked }: JobWish, ofJob: EventFilter, wanted: EventFilter, job: Job | null, head: string
  ): Promise<TellJob | null> {
    const { gap, events } = asked === null ? { gap: false, events: [] } : await readStory(feed.log, asked, ofJob)
    if (job === null && events.length === 0) throw notFound(jobId)
    if (asked !== null && !gap && events.length === 0) return null
    return async outlet => {
      if (gap) outlet.view(streamEvent('reset', head, resetMessage))
      if (job !== null) await snapshot(outlet, gap ? head : asked ?? head, job)
      for (const event of events) {
        if (wanted(event) || isLast(event)) outlet.event(event)
      }
      const end = job === null || events.some(isLast) ? null : endOf(job, head)
      if (end !== null) outlet.event(end)
      outlet.end()
    }
  }

  /** @param head where the stream stood before the job was read */
  function aboutGoingOn (
    { jobId, asked }: JobWish, ofJob: EventFilter, wanted: EventFilter, job: Job, head: string
  ): TellJob {
    return async outlet => {
      await snapshot(outlet, asked ?? head, job)

      async function beginAnew (place: string): Promise<void> {
        const now = await store.find(jobId)
        if (now !== null) await snapshot(outlet, place, now)
        const end = now === null ? null : endOf(now, place)
        if (end !== null) outlet.event(end)
        if (end !== null || now === null) outlet.end()
      }

      await follow({
        feed,
        after: asked ?? head,
        accepts: ofJob,
        signal: outlet.signal,
        sink: {
          event (event) {
            if (wanted(event) || isLast(event)) outlet.event(event)
            // An end before the job was read was undone by a retry.
            if (isLast(event) && event.id !== null && isAfter(event.id, head)) outlet.end()
          },
          reset (place) {
            outlet.view(streamEvent('reset', place, resetMessage))
            beginAnew(place).catch(() => { outlet.end() })
          },
          ready: outlet.ready
        }
      })
    }
  }

  return {
    async prepare (wish, principal) {
      const ofJob = createEventFilter({ job: wish.jobId }, principal, registry)
      const wanted = createEventFilter({ job: wish.jobId, kinds: wish.kinds }, principal, registry)
      const head = await feed.log.head()
      const job = await store.find(wish.jobId)
      if (job !== null && !maySeeJob(principal, job.keyId)) throw notFound(wish.jobId)
      return job === null || hasEnded(job.status)
        ? await aboutEnded(wish, ofJob, wanted, job, head)
        : aboutGoingOn(wish, ofJob, wanted, job, head)
    }
  }
}
