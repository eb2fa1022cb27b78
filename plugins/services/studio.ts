import fp from 'fastify-plugin'
import { hasEnded } from '../../schemas/job-status.ts'
import { ignoring } from '../../src/errors.ts'
import type { Job } from '../../src/jobs/job.ts'
import { imageLimits } from '../../src/media/images.ts'
import { createBatches, type Batches } from '../../src/studio/batches.ts'
import { createControlNetDesk, type ControlNetDesk } from '../../src/studio/controlnet-desk.ts'
import { createFinishedPictures } from '../../src/studio/finished.ts'
import { createGenerations, type Generations } from '../../src/studio/generate.ts'
import { createHistory, type History } from '../../src/studio/history.ts'
import { createKeptImages, type KeptImages } from '../../src/studio/kept-images.ts'
import { createStudioViews, type StudioViews } from '../../src/studio/job-views.ts'
import { createLoraNotes } from '../../src/studio/lora-notes.ts'
import { createLoraPreviews } from '../../src/studio/lora-previews.ts'
import { createLoraShelf, type LoraShelf } from '../../src/studio/lora-shelf.ts'
import { createPictures, type Pictures } from '../../src/studio/pictures.ts'
import { createPresets, type Presets } from '../../src/studio/presets.ts'
import { createUserRules } from '../../src/studio/rules.ts'
import { createStudioSessions, type Sessions } from '../../src/studio/sessions.ts'
import { decorateAll } from './process.ts'

interface StudioServices {
  readonly userSessions: Sessions
  readonly presets: Presets
  readonly userHistory: History
  /** Pictures that come with requests. */
  readonly pictures: Pictures
  readonly keptImages: KeptImages
  readonly generations: Generations
  readonly controlNetDesk: ControlNetDesk
  readonly loraShelf: LoraShelf
  readonly batches: Batches
  readonly studioViews: StudioViews
  /** Ends every one of them that has not ended. */
  readonly cancelAll: (jobs: ReadonlyArray<Job | null>) => Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance extends StudioServices {}
}

/** What bots and phones need beside the jobs: what is kept of their users, and their ways of asking. */
export default fp(async app => {
  const {
    redis, keys, jobStore: store, media, inputs, uploadTexts: texts, config, registry, states, connect, estimates
  } = app
  const keptImages = createKeptImages(inputs, texts, media)
  const sessions = createStudioSessions({ redis, keys, images: keptImages })
  const presets = createPresets({ redis, keys, images: keptImages })
  const history = createHistory(redis, keys, store)
  const rules = createUserRules(redis, keys, config)
  const pictures = createPictures({ media, texts, limits: imageLimits(config) })
  const generations = createGenerations({
    registry,
    states,
    lists: app.freshLists,
    submitter: app.submitter,
    sessions,
    presets,
    keptImages,
    history,
    rules,
    pictures,
    finished: createFinishedPictures({ store, media, texts })
  })
  decorateAll<StudioServices>(app, {
    userSessions: sessions,
    presets,
    userHistory: history,
    pictures,
    keptImages,
    generations,
    controlNetDesk: createControlNetDesk({ registry, states, faces: app.faces, passThrough: app.passThrough }),
    loraShelf: createLoraShelf({
      catalogue: app.catalogue,
      pictures: app.civitaiPictures,
      refresher: app.modelRefresher,
      maintenance: app.maintenance,
      desk: app.modelDesk,
      notes: createLoraNotes(redis, keys),
      previews: createLoraPreviews({ redis, keys, registry, connect }),
      registry,
      states,
      connect
    }),
    batches: createBatches({ redis, keys, store, generations, rules, pictures }),
    studioViews: createStudioViews({ store, registry, estimates }),
    async cancelAll (jobs) {
      for (const job of jobs) {
        // It may have ended, or been deleted, just now.
        const isOver = ignoring('job_operation_invalid', 'job_not_found')
        if (job !== null && !hasEnded(job.status)) await store.cancel(job.id).catch(isOver)
      }
    }
  })
}, { name: 'studio-services', fastify: '5.x', dependencies: ['process', 'job-services', 'sdapi-services'] })
