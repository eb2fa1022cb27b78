import { isSeed } from '../a1111/seeds.ts'
import type { ImageSink } from '../a1111/types.ts'
import type { MediaStore, OutputSink } from '../media/store.ts'
import type { StoredImage } from '../media/types.ts'
import type { Job, JobImage } from './job.ts'

/** Takes the images of one answer as they arrive. */
export interface ImageCollector {
  createSink (index: number): Promise<ImageSink>
  /** All images, stored for good, in the answer's order. */
  finish (info: Readonly<Record<string, unknown>> | null, asked: number): Promise<JobImage[]>
  /** Removes whatever was stored. */
  discard (): Promise<void>
}

export function createImageCollector (media: MediaStore, job: Pick<Job, 'id'>, moment: number): ImageCollector {
  const sinks: OutputSink[] = []
  return {
    async createSink (index) {
      const sink = await media.createOutputSink(job.id, index, moment)
      sinks.push(sink)
      return sink
    },
    async finish (info, asked) {
      const stored = await Promise.all(sinks.map(async sink => await sink.finished))
      const first = Number(info?.index_of_first_image ?? 0)
      const seeds = Array.isArray(info?.all_seeds) ? info.all_seeds as unknown[] : []
      return stored.map((image, index) => {
        const role = roleOf(index, first, asked)
        const seed = role === 'image' ? seeds[index - first] : null
        return { ...image, role, seed: isSeed(seed) ? seed : null }
      })
    },
    async discard () {
      const stored = await Promise.allSettled(sinks.map(async sink => await sink.finished))
      await Promise.all(stored.map(async outcome => {
        if (outcome.status === 'fulfilled') await media.removeOutput(outcome.value.name)
      }))
    }
  }
}

/** A1111 puts a contact sheet before the real images and ControlNet maps or masks after them. */
function roleOf (index: number, first: number, asked: number): StoredImage['role'] {
  if (index < first) return 'grid'
  return index < first + asked ? 'image' : 'extra'
}
