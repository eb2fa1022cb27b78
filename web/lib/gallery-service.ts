import type { DeletedImages, GalleryFilter, GalleryImage, GalleryPage, Message, Zip } from './api-types.ts'
import { ask, pathOf } from './api.ts'
import { queryOf } from './query.ts'
import { jobs } from './service.ts'
import { t } from '../texts/en/gallery.ts'

/** The routes of the gallery, one function each. */

const path = '/api/v1/gallery'
/** Deletions per request. */
const atOnce = 500

export const gallery = {
  page: (query: GalleryFilter, signal: AbortSignal) => ask<GalleryPage>('GET', `${path}?${queryOf(query)}`, { signal }),
  /** An image that no read page contains; undefined if it does not exist. */
  async find (name: string, signal: AbortSignal): Promise<GalleryImage | undefined> {
    const { job_id: jobId } = await ask<{ job_id: string }>('GET', `${pathOf(`${path}/images`, name)}/info`, { signal })
    const job = await jobs.read(jobId, signal)
    const image = job.images.find(({ filename }) => filename === name)
    return image && {
      ...image,
      job_id: job.id,
      accepted_at: job.creation_timestamp,
      created_at: job.completion_timestamp ?? job.creation_timestamp,
      prompt: job.generation_params.prompt ?? '',
      checkpoint: job.checkpoint_used,
      server: job.target_server_alias,
      api_key_id: job.api_key_id
    }
  },
  remove: (name: string) => ask<Message>('DELETE', pathOf(`${path}/images`, name)),
  /** @returns how many images were deleted; the others did not exist any more */
  async removeMany (names: readonly string[]) {
    let count = 0
    for (let from = 0; from < names.length; from += atOnce) {
      const { deleted } = await ask<DeletedImages>('POST', `${path}/delete`, { body: { filenames: names.slice(from, from + atOnce) } })
      count += deleted.length
    }
    return { message: t.imagesDeleted(count) }
  },
  /** @returns the address of the zip file */
  createZip: (filenames: readonly string[], parameters: boolean) => ask<Zip>('POST', `${path}/zips`, { body: { filenames, parameters } })
}
