import { stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { Admission, AdmissionRequest, OnMissing } from '../a1111/admission.ts'
import { insertImages } from '../a1111/images.ts'
import { buildPayload } from '../a1111/payload.ts'
import type { ServerTraits } from '../a1111/types.ts'
import type { MediaStore } from '../media/store.ts'
import type { Job } from './job.ts'

/** A request that is ready to be sent. */
export interface PreparedGeneration {
  /** JSON text. */
  readonly body: string
}

export interface PreparationSources {
  readonly media: MediaStore
  readonly admit: (request: AdmissionRequest, onMissing: OnMissing) => Promise<Admission | null>
  readonly traits: () => ServerTraits | null
}

/**
 * The request for a job as its server wants it now: images put back in, every name looked up once more, since what
 * the server has may have changed while the job waited.
 * @throws ServiceError as `admit`, or `image_not_found` for lost input
 */
export async function prepareGeneration (job: Job, sources: PreparationSources): Promise<PreparedGeneration> {
  const { mode, parameters, checkpoint, checkpointTitle, onMissing } = job.submission
  const traits = sources.traits()
  const asked = { mode, parameters, checkpoint: checkpointTitle ?? checkpoint, hints: {} }
  const admission = await sources.admit(asked, onMissing) ?? { parameters, checkpointTitle }
  const complete = await insertImages(admission.parameters, async reference =>
    (await sources.media.readInput(reference)).toString('base64'))
  const payload = buildPayload({
    mode, parameters: complete, checkpointTitle: admission.checkpointTitle, taskId: job.id, traits
  })
  return { body: stringifyKeepingFloats(payload) }
}
