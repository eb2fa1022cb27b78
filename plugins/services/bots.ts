import fp from 'fastify-plugin'
import { hasEnded } from '../../schemas/job.ts'
import { type Batches, createBatches } from '../../src/bots/batches.ts'
import { type ControlNetService, createControlNetService } from '../../src/bots/controlnet.ts'
import { createFinishedImages } from '../../src/bots/finished.ts'
import { createGenerations, createHistory, type Generations, type History } from '../../src/bots/generate.ts'
import { createBotViews, type BotViews } from '../../src/bots/job-views.ts'
import { createLoraMetadataStore, createLoraPreviews } from '../../src/bots/lora-metadata.ts'
import { createLoraService, type LoraService } from '../../src/bots/lora-service.ts'
import { createKeptImages, createImageReader, type KeptImages, type ImageReader } from '../../src/bots/images.ts'
import { createPresets, type Presets } from '../../src/bots/presets.ts'
import { createBotSessions, type Sessions } from '../../src/bots/sessions.ts'
import { createUserRules } from '../../src/bots/user-limits.ts'
import type { Job } from '../../src/jobs/job.ts'
import { ignoring } from '../../src/lib/errors.ts'
import { imageLimits } from '../../src/media/images.ts'
import { decorateAll } from './process.ts'

interface BotServices {
  readonly userSessions: Sessions
  readonly presets: Presets
  readonly userHistory: History
  /** Images that come with requests. */
  readonly imageReader: ImageReader
  readonly keptImages: KeptImages
  readonly generations: Generations
  readonly controlNetService: ControlNetService
  readonly loraService: LoraService
  readonly batches: Batches
  readonly botViews: BotViews
  /** Cancels all that have not finished. */
  readonly cancelAll: (jobs: ReadonlyArray<Job | null>) => Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance extends BotServices {}
}

/** Services for bots and phones beside the jobs: stored data of their users, and their requests. */
export default fp(async app => {
  const {
    redis, keys, jobStore: store, media, inputs, uploadTexts: texts, config, registry, states, connect, estimates
  } = app
  const keptImages = createKeptImages(inputs, texts, media)
  const sessions = createBotSessions({ redis, keys, images: keptImages })
  const presets = createPresets({ redis, keys, images: keptImages })
  const history = createHistory(redis, keys, store)
  const rules = createUserRules(redis, keys, config)
  const imageReader = createImageReader({ media, texts, limits: imageLimits(config) })
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
    imageReader,
    finished: createFinishedImages({ store, media, texts })
  })
  decorateAll<BotServices>(app, {
    userSessions: sessions,
    presets,
    userHistory: history,
    imageReader,
    keptImages,
    generations,
    controlNetService: createControlNetService({
      registry, states, upstream: app.upstream, passThrough: app.passThrough
    }),
    loraService: createLoraService({
      catalogue: app.catalogue,
      images: app.civitaiImages,
      refresher: app.modelRefresher,
      maintenance: app.maintenance,
      service: app.modelService,
      notes: createLoraMetadataStore(redis, keys),
      previews: createLoraPreviews({ redis, keys, registry, connect }),
      registry,
      states,
      connect
    }),
    batches: createBatches({ redis, keys, store, generations, rules, imageReader }),
    botViews: createBotViews({ store, estimates }),
    async cancelAll (jobs) {
      for (const job of jobs) {
        // It can have finished, or been deleted, just now.
        const isOver = ignoring('job_operation_invalid', 'job_not_found')
        if (job !== null && !hasEnded(job.status)) await store.cancel(job.id).catch(isOver)
      }
    }
  })
}, { name: 'studio-services', fastify: '5.x', dependencies: ['process', 'job-services', 'sdapi-services'] })
