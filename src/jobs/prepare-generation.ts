import { stringifyKeepingFloats, withFloatsOf } from '../lib/exact-json.ts'
import type { Compatibility, CompatibilityRequest, OnMissing } from '../a1111/resolve.ts'
import { insertImages } from '../a1111/images.ts'
import { fieldsOf, textOf } from '../lib/json-values.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import { buildPayload, settingsOfScripts, switchesCheckpoints } from '../a1111/payload.ts'
import type { ServerTraits } from '../a1111/types.ts'
import type { MediaStore } from '../media/store.ts'
import { withOptions, type SentOptions, type WantedOptions } from '../servers/options-access.ts'
import type { Job, JobSubmission } from './job.ts'

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
export async function prepareGeneration (job: Job, sources: PreparationSources): Promise<PreparedGeneration> {
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
          switches: switchesCheckpoints(complete)
        }
      : null,
    body: options => options === null ? text : withOptions(text, options)
  }
}
