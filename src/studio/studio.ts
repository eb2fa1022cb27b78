import { hasEnded } from '../../schemas/job-status.ts'
import { ServiceError } from '../errors.ts'
import { createFreshLists } from '../servers/fresh-lists.ts'
import type { House } from '../house.ts'
import type { Job } from '../jobs/job.ts'
import { removeJob } from '../jobs/remove.ts'
import type { Submitter } from '../jobs/submit.ts'
import { imageLimits } from '../media/images.ts'
import type { DropIn } from '../sdapi/drop-in.ts'
import { createBatches, type Batches } from './batches.ts'
import { createControlNetDesk, type ControlNetDesk } from './controlnet-desk.ts'
import { createFinishedPictures } from './finished.ts'
import { createGenerations, type Generations } from './generate.ts'
import { createHistory, type History } from './history.ts'
import { createKeptImages, type KeptImages } from './kept-images.ts'
import { createStudioViews, type StudioViews } from './job-views.ts'
import { createLoraNotes } from './lora-notes.ts'
import { createLoraPreviews } from './lora-previews.ts'
import { createLoraShelf, type LoraShelf } from './lora-shelf.ts'
import { createPictures, type Pictures } from './pictures.ts'
import { createPresets, type Presets } from './presets.ts'
import { createUserRules, type UserRules } from './rules.ts'
import { createStudioSessions, type Sessions } from './sessions.ts'

/** What stands behind the routes for bots and phones. */
export interface Studio {
  readonly house: House
  readonly sessions: Sessions
  readonly presets: Presets
  readonly history: History
  readonly rules: UserRules
  readonly pictures: Pictures
  readonly keptImages: KeptImages
  readonly generations: Generations
  readonly controlNet: ControlNetDesk
  readonly loras: LoraShelf
  readonly batches: Batches
  readonly views: StudioViews
  /** Ends every one of them that has not ended. */
  readonly cancelAll: (jobs: ReadonlyArray<Job | null>) => Promise<void>
  readonly removeJob: (jobId: string) => Promise<void>
}

export function createStudio (
  house: House, submitter: Submitter, { faces, passThrough }: Pick<DropIn, 'faces' | 'passThrough'>
): Studio {
  const {
    redis, keys, store, media, inputs, uploadTexts: texts, config, registry, states, models, connect, log
  } = house
  const lists = createFreshLists({ redis, keys, states, connect, log })
  const keptImages = createKeptImages(inputs, texts, media)
  const sessions = createStudioSessions({ redis, keys, images: keptImages })
  const presets = createPresets({ redis, keys, images: keptImages })
  const history = createHistory(redis, keys, store)
  const rules = createUserRules(redis, keys, config)
  const pictures = createPictures({ media, texts, limits: imageLimits(config) })
  const finished = createFinishedPictures({ store, media, texts })
  const generations = createGenerations({
    house, lists, submitter, sessions, presets, keptImages, history, rules, pictures, finished
  })
  return {
    house,
    sessions,
    presets,
    history,
    rules,
    pictures,
    keptImages,
    controlNet: createControlNetDesk({ registry, states, faces, passThrough }),
    loras: createLoraShelf({
      models,
      notes: createLoraNotes(redis, keys),
      previews: createLoraPreviews({ redis, keys, registry, connect }),
      registry,
      states,
      connect
    }),
    generations,
    batches: createBatches({ redis, keys, store, generations, rules, pictures }),
    views: createStudioViews(house),
    async cancelAll (jobs) {
      for (const job of jobs) {
        if (job !== null && !hasEnded(job.status)) await store.cancel(job.id).catch(unlessOver)
      }
    },
    removeJob: async jobId => { await removeJob(jobId, { store, media, inputs }) }
  }
}

/** It may have ended, or been deleted, just now. */
function unlessOver (error: unknown): void {
  if (error instanceof ServiceError && ['job_operation_invalid', 'job_not_found'].includes(error.code)) return
  throw error
}
