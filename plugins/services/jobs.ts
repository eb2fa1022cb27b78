import fp from 'fastify-plugin'
import { createGallery, createZipService, type Gallery, type ZipService } from '../../src/jobs/gallery.ts'
import { guardedGet } from '../../src/egress/requests.ts'
import { createJobEdits, type JobEdits } from '../../src/jobs/edit.ts'
import { createImageSources, type ImageSources } from '../../src/jobs/image-sources.ts'
import { createIdempotency, type Idempotency } from '../../src/jobs/idempotency.ts'
import { type Bulks, createBulks, createManyJobs, type ManyJobs } from '../../src/jobs/many.ts'
import { createJobNotices, createJobWait, type JobNotices, type JobWait } from '../../src/jobs/notices.ts'
import { createJobOutcomes, type JobOutcomes } from '../../src/jobs/outcome.ts'
import { removeJob } from '../../src/jobs/retention.ts'
import { createWorkPrediction, type WorkPrediction } from '../../src/jobs/workload.ts'
import { createSubmitter, type Submitter } from '../../src/jobs/submit.ts'
import { imageLimits } from '../../src/media/images.ts'
import { createShortIds, type ShortIds } from '../../src/sdapi/clients.ts'
import { createJobViews, type JobViews } from '../api/job-views.ts'
import { createModelViews, type ModelViews } from '../api/model-views.ts'
import { decorateAll } from './process.ts'

interface JobServices {
  readonly workPrediction: WorkPrediction
  /** Fires when the service begins to stop. */
  readonly stopping: AbortSignal
  readonly submitter: Submitter
  /** Images that requests name instead of sending them. */
  readonly imageSources: ImageSources
  readonly jobEdits: JobEdits
  readonly bulks: Bulks
  readonly idempotency: Idempotency
  readonly notices: JobNotices
  readonly waitForJob: JobWait
  readonly jobOutcome: JobOutcomes
  /** Jobs of the drop-in have a short id in X-Job-ID besides their own. */
  readonly shortIds: ShortIds
  readonly manyJobs: ManyJobs
  readonly removeJob: (jobId: string) => Promise<void>
  readonly gallery: Gallery
  readonly zips: ZipService
  readonly jobViews: JobViews
  readonly modelViews: ModelViews
}

declare module 'fastify' {
  interface FastifyInstance extends JobServices {}
}

/** Submitting jobs, waiting for them, and actions on them and their images. */
export default fp(async app => {
  const { config, redis, keys, subscriber, jobStore: store, jobList: list, media, inputs, registry, states } = app
  const stopping = new AbortController()
  app.addHook('preClose', async () => { stopping.abort() })

  const workPrediction = createWorkPrediction(states.costs, () => registry.list().map(({ id }) => id))
  const submitter = createSubmitter({
    registry,
    states,
    store,
    inputs,
    queueLimitPerKey: config.QUEUE_LIMIT_PER_KEY,
    limits: { pixels: config.PIXELS_PER_JOB_MEGAPIXELS * 1_000_000, images: config.OUTPUTS_PER_JOB },
    webhooks: app.webhookService,
    storage: app.storage,
    lists: app.freshLists,
    work: workPrediction,
    coming: app.coming,
    log: app.log,
    ownUrl: config.PUBLIC_URL === '' ? `http://127.0.0.1:${config.PORT}` : config.PUBLIC_URL,
    async standingOf (keyId) {
      const [waiting, background] = await Promise.all([
        list.count({ keyId, status: 'pending' }), app.accessKeys.isInBackground(keyId)
      ])
      return { waiting, background }
    }
  })
  const jobEdits = createJobEdits({
    submitter, store, inputs, uploadTexts: app.uploadTexts, registry, work: workPrediction
  })
  const imageSources = createImageSources({
    store,
    media,
    texts: app.uploadTexts,
    limits: imageLimits(config),
    async fetch (url, keyId, timeoutMs) {
      // Administrators can reach the addresses that the settings open, keys those of their own reach.
      const reach = keyId === null ? 'private' : (await app.signingKeys.read(keyId)).reach
      return await guardedGet(app.guard, {
        url, reach, deadline: timeoutMs, maxBytes: imageLimits(config).bytes, signal: stopping.signal
      })
    }
  })
  const notices = await createJobNotices({ subscriber, keys, store })
  app.addHook('onClose', async () => { notices.close() })
  const remove = async (jobId: string) => { await removeJob(jobId, { store, media, inputs }) }
  const gallery = createGallery({ redis, keys, store, media })

  decorateAll<JobServices>(app, {
    stopping: stopping.signal,
    submitter,
    imageSources,
    jobEdits,
    workPrediction,
    bulks: createBulks(redis, keys, store, list, submitter),
    idempotency: createIdempotency(redis, keys, config.IDEMPOTENCY_HOURS),
    notices,
    waitForJob: createJobWait(notices, stopping.signal),
    jobOutcome: createJobOutcomes({ notices, media, stopping: stopping.signal }),
    shortIds: createShortIds(redis, keys),
    manyJobs: createManyJobs({ store, list, moves: app.jobMoves, remove }),
    removeJob: remove,
    gallery,
    zips: createZipService({ redis, keys, gallery, media, log: app.log }),
    jobViews: createJobViews({ registry, estimates: app.estimates, store, list }),
    modelViews: createModelViews(registry)
  })
}, { name: 'job-services', fastify: '5.x', dependencies: ['process', 'server-services'] })
