import { hasEnded } from '../../schemas/job.ts'
import { maySeeJob, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { isAfter } from '../../src/events/event.ts'
import type { EventBus } from '../../src/events/event-bus.ts'
import { audienceOf, createEventFilter, type EventFilter } from '../../src/events/filter.ts'
import { catchUp } from '../../src/events/catch-up.ts'
import { endOf, isLast, readJobHistory } from '../../src/jobs/history.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import type { JobViews } from '../api/job-views.ts'
import type { EventSubscriber } from './subscriber.ts'
import { resetMessage, snapshotEvent, streamEvent } from './render-event.ts'

/** A listener's options for one job. */
export interface JobRequest {
  readonly jobId: string
  /** The last event that it got; null for a new listener. */
  readonly asked: string | null
  readonly kinds?: string | undefined
}

/** Sends the events of one job. Resolves when the listener has the events that it missed. */
export type SendJobEvents = (eventSubscriber: EventSubscriber) => Promise<void>

export interface JobEventSender {
  /**
   * Prepares the stream; null if the listener knows the end already.
   * @throws ServiceError `job_not_found`, also for another's, or about `kinds`
   */
  prepare (requested: JobRequest, principal: Principal): Promise<SendJobEvents | null>
}

export interface JobEventSenderDependencies {
  readonly eventBus: EventBus
  readonly store: Pick<JobStore, 'find'>
  readonly registry: ServerRegistry
  readonly jobViews: JobViews
}

/** A snapshot first and the end last, which every listener gets, however late. */
export function createJobEventSender (
  { eventBus, store, registry, jobViews }: JobEventSenderDependencies
): JobEventSender {
  const notFound = (jobId: string) => new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })

  async function snapshot (eventSubscriber: EventSubscriber, id: string, job: Job): Promise<void> {
    eventSubscriber.view(snapshotEvent(id, await jobViews.one(job, eventSubscriber.base)))
  }

  /**
   * About a job without further events. Its stored events outlive the job itself.
   * @param head position of the stream before the job was read
   */
  async function aboutEnded (
    { jobId, asked }: JobRequest, ofJob: EventFilter, wanted: EventFilter, job: Job | null, head: string
  ): Promise<SendJobEvents | null> {
    const nothing = { gap: false, events: [] }
    const { gap, events } = asked === null ? nothing : await readJobHistory(eventBus.log, asked, ofJob)
    if (job === null && events.length === 0) throw notFound(jobId)
    if (asked !== null && !gap && events.length === 0) return null
    return async eventSubscriber => {
      if (gap) eventSubscriber.view(streamEvent('reset', head, resetMessage))
      if (job !== null) await snapshot(eventSubscriber, gap ? head : asked ?? head, job)
      for (const event of events) {
        if (wanted(event) || isLast(event)) eventSubscriber.event(event)
      }
      const end = job === null || events.some(isLast) ? null : endOf(job, head)
      if (end !== null) eventSubscriber.event(end)
      eventSubscriber.end()
    }
  }

  /** @param head position of the stream before the job was read */
  function aboutGoingOn (
    { jobId, asked }: JobRequest, ofJob: EventFilter, wanted: EventFilter, job: Job, head: string
  ): SendJobEvents {
    return async eventSubscriber => {
      await snapshot(eventSubscriber, asked ?? head, job)

      async function beginAnew (place: string): Promise<void> {
        const now = await store.find(jobId)
        if (now !== null) await snapshot(eventSubscriber, place, now)
        const end = now === null ? null : endOf(now, place)
        if (end !== null) eventSubscriber.event(end)
        if (end !== null || now === null) eventSubscriber.end()
      }

      await catchUp({
        eventBus,
        after: asked ?? head,
        accepts: ofJob,
        signal: eventSubscriber.signal,
        sink: {
          event (event) {
            if (wanted(event) || isLast(event)) eventSubscriber.event(event)
            // A retry undid an end from before the job was read.
            if (isLast(event) && event.id !== null && isAfter(event.id, head)) eventSubscriber.end()
          },
          reset (place) {
            eventSubscriber.view(streamEvent('reset', place, resetMessage))
            beginAnew(place).catch(() => { eventSubscriber.end() })
          },
          ready: eventSubscriber.ready
        }
      })
    }
  }

  return {
    async prepare (requested, principal) {
      const ofJob = createEventFilter(audienceOf({ job: requested.jobId }, principal, registry))
      const wanted = createEventFilter(
        audienceOf({ job: requested.jobId, kinds: requested.kinds }, principal, registry))
      const head = await eventBus.log.head()
      const job = await store.find(requested.jobId)
      if (job !== null && !maySeeJob(principal, job.keyId)) throw notFound(requested.jobId)
      return job === null || hasEnded(job.status)
        ? await aboutEnded(requested, ofJob, wanted, job, head)
        : aboutGoingOn(requested, ofJob, wanted, job, head)
    }
  }
}
