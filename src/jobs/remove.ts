import type { InputImages } from './input-images.ts'
import type { MediaStore } from '../media/store.ts'
import type { JobStore } from './store.ts'

/**
 * Deletes an ended job with all its files: record first, so that nothing points at a file that is gone.
 * @throws ServiceError `job_not_found`, or `job_operation_invalid` while the job is active
 */
export async function removeJob (
  id: string, { store, media, inputs }: { store: JobStore, media: MediaStore, inputs: InputImages }
): Promise<void> {
  const job = await store.remove(id)
  await Promise.all((job.result?.images ?? []).map(async ({ name }) => { await media.removeOutput(name) }))
  await inputs.release(job.submission.parameters)
}
