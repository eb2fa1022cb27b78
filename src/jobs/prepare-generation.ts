import { stringifyKeepingFloats, withFloatsOf } from '../lib/exact-json.ts'
import type { Compatibility, CompatibilityRequest, OnMissing } from '../a1111/resolve.ts'
import { insertImages } from '../a1111/images.ts'
import { fieldsOf, textOf } from '../lib/json-values.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import { buildPayload, settingsOfScripts, switchesCheckpoints } from '../a1111/payload.ts'
import type { GenerationFailure, ServerTraits } from '../a1111/types.ts'
import type { MediaStore } from '../media/store.ts'
import { withOptions, type SentOptions, type WantedOptions } from '../servers/options-access.ts'
import type { Server } from '../servers/registry.ts'
import type { Unclaim } from './claims.ts'
import type { Job, JobSubmission } from './job.ts'
import { classOf, needsOf, needsOfJob } from './needs.ts'
import type { OtherServer } from './recover-generation.ts'
import type { JobStore } from './store.ts'

/** A request that is ready to be sent, except for the options that go with it. */
export interface PreparedGeneration {
  /** What the job needs of its server's options; null if its server, or this work, takes none. */
  readonly wanted: WantedOptions | null
  /** JSON text. */
  body (options: SentOptions | null): string
}

export interface PreparationSources {
  readonly media: MediaStore
  readonly checkCompatibility: (request: CompatibilityRequest, onMissing: OnMissing) => Promise<Compatibility | null>
  readonly traits: () => ServerTraits | null
}

/** What preparing needs of a job. */
export type PreparableJob = Pick<Job, 'id' | 'submission' | 'starts' | 'fixedCheckpoint'>

/** What a job needs, to be looked up at a server. */
export function compatibilityRequestOf (
  { mode, parameters, checkpoint, checkpointTitle }: JobSubmission
): CompatibilityRequest {
  return { mode, parameters, checkpoint: checkpointTitle ?? checkpoint, hints: {} }
}

/**
 * The request for a job in its server's current form: images inserted and every name looked up again, since the
 * server's files can have changed while the job waited.
 * @throws ServiceError as `checkCompatibility`, or `image_not_found` for lost input
 */
export async function prepareGeneration (job: PreparableJob, sources: PreparationSources): Promise<PreparedGeneration> {
  const { mode, parameters, checkpointTitle, onMissing } = job.submission
  const traits = sources.traits()
  // A job that leaves the choice to the server keeps the checkpoint that it began with.
  const begunWith = job.starts > 0 ? job.fixedCheckpoint : null
  const asked = compatibilityRequestOf(job.submission)
  const compatibility = await sources.checkCompatibility(
    { ...asked, checkpoint: asked.checkpoint ?? begunWith }, onMissing
  ) ?? { parameters, checkpointTitle }
  const complete = await insertImages(compatibility.parameters, async reference =>
    (await sources.media.readInput(reference)).toString('base64'))
  const payload = buildPayload({
    mode, parameters: complete, checkpointTitle: compatibility.checkpointTitle, taskId: job.id, traits
  })
  const { override_settings: settings, override_settings_restore_afterwards: _restore, ...request } = payload
  const { sd_model_checkpoint: title = null, ...own } = fieldsOf(settings)
  const takesOptions = mode !== 'extras' && rulesOf(traits).overrideSettings !== null
  const text = stringifyKeepingFloats(withFloatsOf(payload, request))
  return {
    wanted: takesOptions
      ? {
          settings: own,
          checkpoint: textOf(title),
          touched: settingsOfScripts(complete),
          switches: switchesCheckpoints(complete),
          iterates: Number(complete.n_iter ?? 1) > 1
        }
      : null,
    body: options => options === null ? text : withOptions(text, options)
  }
}

/** Waiting jobs among which the first one after a break is chosen. */
const trialChoice = 50
/** How long a job lets others go ahead, in milliseconds. */
const pauseForOthers = 1000

export interface OthersDependencies {
  readonly server: () => Server
  readonly store: Pick<JobStore, 'readMany' | 'waitingIds'>
  readonly otherServer: OtherServer
  /** Gives a job back that has not begun. */
  readonly unclaim: (options: Pick<Unclaim, 'id' | 'restMs' | 'jobClass'>) => Promise<unknown>
}

/** The other jobs and servers, ahead of which a claimed job does not begin here. */
export function createOthers ({ server, store, otherServer, unclaim }: OthersDependencies) {
  return {
    /**
     * After a break, the job that has failed here least goes first: one that has failed can be the cause.
     * @returns whether another one goes first
     */
    async goFirst (job: Job): Promise<boolean> {
      const { id: serverId, alias } = server()
      const failuresOf = ({ attempts, firstRun }: Job) =>
        attempts.filter(attempt => attempt.run >= firstRun && attempt.server === alias).length
      const failures = failuresOf(job)
      if (failures === 0) return false
      const ids = await Promise.all([serverId, ''].map(async id => (await store.waitingIds(id)).slice(0, trialChoice)))
      const waiting = await store.readMany(ids.flat())
      if (!waiting.some(other => other.id !== job.id && failuresOf(other) < failures)) return false
      await unclaim({ id: job.id, restMs: pauseForOthers })
      return true
    },
    /** @returns whether another server takes a job that this one lacks something for */
    async take (job: Job, { failureClass }: GenerationFailure): Promise<boolean> {
      if (failureClass !== 'request' || job.target !== '') return false
      const next = await otherServer(job.submission, new Set([server().alias]), 'enabled')
      if (next === null) return false
      const { lacking, failed } = needsOfJob(job)
      const needs = needsOf(job.submission, '', { lacking: [...lacking, server().id], failed })
      await unclaim({ id: job.id, jobClass: classOf(needs, job.submission) })
      return true
    }
  }
}
