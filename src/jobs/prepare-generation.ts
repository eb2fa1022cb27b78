import { findCheckpoint } from '../a1111/checkpoint-names.ts'
import { insertImages } from '../a1111/images.ts'
import { nearest } from '../a1111/nearest.ts'
import { buildPayload } from '../a1111/payload.ts'
import type { Inventory, ServerTraits } from '../a1111/types.ts'
import { ServiceError } from '../errors.ts'
import type { MediaStore } from '../media/store.ts'
import type { Job } from './job.ts'

/** A request that is ready to be sent. */
export interface PreparedGeneration {
  /** JSON text. */
  readonly body: string
}

export interface PreparationSources {
  readonly media: MediaStore
  readonly inventory: () => Promise<Inventory | null>
  readonly traits: () => ServerTraits | null
}

/**
 * The request for a job as its server wants it now: images put back in, the checkpoint by that server's own title,
 * which may have changed since the job was submitted.
 * @throws ServiceError `checkpoint_not_found` when the server has it no more, `image_not_found` for lost input
 */
export async function prepareGeneration (job: Job, sources: PreparationSources): Promise<PreparedGeneration> {
  const { submission } = job
  const parameters = await insertImages(submission.parameters, async reference =>
    (await sources.media.readInput(reference)).toString('base64'))
  const payload = buildPayload({
    mode: submission.mode,
    parameters,
    checkpointTitle: titleNow(submission.checkpointTitle ?? submission.checkpoint, await sources.inventory()),
    taskId: job.id,
    traits: sources.traits()
  })
  return { body: JSON.stringify(payload) }
}

function titleNow (wanted: string | null, inventory: Inventory | null): string | null {
  if (wanted === null || inventory === null || inventory.missing.includes('checkpoints')) return wanted
  const checkpoint = findCheckpoint(wanted, inventory)
  if (checkpoint !== null) return checkpoint.title
  throw new ServiceError('checkpoint_not_found', `The server no longer has the checkpoint ${wanted}.`, {
    field: 'generation_params.checkpoint_name',
    nearest: nearest(wanted, inventory.checkpoints.map(({ title }) => title), 3)
  })
}
