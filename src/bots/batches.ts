import { randomInt, randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { type BotBatch, BotBatchRequest, type BotJob } from '../../schemas/bots-job.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { hasEnded } from '../../schemas/job.ts'
import { WebhookFields } from '../../schemas/webhook.ts'
import { isRecord } from '../a1111/field-values.ts'
import { warningsOfUnknown } from '../a1111/unknown-fields.ts'
import { ValidationFailure } from '../fastapi/errors.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { randomSeed } from '../lib/seeds.ts'
import { readJson } from '../redis/json-value.ts'
import { botTime, toBotError } from './errors.ts'
import type { Generations } from './generate.ts'
import { type JobOutlook, resultImages, botJob, urlsOf } from './job-view.ts'
import { expandGrid, type Sweep } from './parameter-grid.ts'
import type { ImageReader } from './images.ts'
import { readFields, refuse, unknownFields } from './read-fields.ts'
import { type GenerationKind, knownFields, type BotCall } from './request.ts'
import type { UserRules } from './user-limits.ts'
import { plainUserId } from './user-scope.ts'

/**
 * What is wrong with one generation of a batch, reported for the place of its origin: an axis, a variation or the base
 * request. Other errors pass through.
 * @param variation index of the generation's own
 */
function inBatch (
  error: unknown, request: Pick<BotBatchRequest, 'axes' | 'variations' | 'base_request'>, variation: number
): unknown {
  if (!(error instanceof ValidationFailure) && !(error instanceof ServiceError)) return error
  const { status, body } = toBotError(error)
  if (status !== 422 || typeof body.detail === 'string') return error
  return new ValidationFailure(body.detail.map(detail => ({ ...detail, loc: placeOf(detail.loc) })))

  function placeOf (loc: unknown): unknown {
    const [root = 'body', first = '', ...rest] = Array.isArray(loc) ? loc as unknown[] : []
    const name = String(first)
    const axis = request.axes.findIndex(({ field }) => field.split('.')[0] === name)
    if (axis !== -1) return [root, 'axes', axis, 'values']
    if (Object.hasOwn(request.variations[variation] ?? {}, name)) return [root, 'variations', variation, name, ...rest]
    return name === 'user_id' ? loc : [root, 'base_request', name, ...rest]
  }
}

/** Many generations of one request. Times are in milliseconds since the epoch. */
export interface Batch {
  readonly id: string
  readonly keyId: string | null
  readonly user: string
  readonly name: string | null
  readonly axes: Sweep['axes']
  readonly cells: ReadonlyArray<{ readonly jobId: string, readonly label: string }>
  readonly createdAt: number
}

export interface Batches {
  /** @throws ValidationFailure or ServiceError naming the field; then nothing is submitted */
  submit (call: BotCall): Promise<{ readonly batch: Batch, readonly warnings: readonly Warning[] }>
  find (id: string): Promise<Batch | null>
  /** Its jobs in the order of its cells; null for a job that was deleted or never created. */
  jobs (batch: Batch): Promise<Array<Job | null>>
  /** Deletes the batch; its jobs stay. */
  remove (batch: Batch): Promise<void>
}

export interface BatchesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly store: Pick<JobStore, 'readMany'>
  readonly generations: Generations
  readonly rules: UserRules
  readonly imageReader: ImageReader
}

/** Number of batches that are checked when another one is submitted. */
const forgottenAtOnce = 5
/** The jobs of a batch are created within this time after its record, in milliseconds. */
const madeWithin = 60_000
const imageField = /^(image\d?|images|mask|init_image)$/

export function createBatches (dependencies: BatchesDependencies): Batches {
  const { redis, keys, store, generations, rules, imageReader } = dependencies
  const batchKey = (id: string) => keys.key('studio', 'batch', id)
  const allKey = keys.key('studio', 'batches')

  /** Retention removes jobs and knows no batches, so batches without any remaining job are deleted, a few at a time. */
  async function forgetSome (): Promise<void> {
    for (const id of await redis.srandmember(allKey, forgottenAtOnce)) {
      const batch = await readJson<Batch>(redis, batchKey(id))
      const jobKeys = (batch?.cells ?? []).map(({ jobId }) => keys.key('job', jobId))
      const isMade = batch === null || batch.createdAt < Date.now() - madeWithin
      if (isMade && (jobKeys.length === 0 || await redis.exists(...jobKeys) === 0)) await forget(id)
    }
  }

  async function forget (id: string): Promise<void> {
    await redis.multi().del(batchKey(id)).srem(allKey, id).exec()
  }

  /** The base request with its images stored, so that not every generation sends them again. */
  async function withUploads (base: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    const result = { ...base }
    for (const [name, value] of Object.entries(base)) {
      const isImage = imageField.test(name) && typeof value === 'string' && value !== ''
      if (isImage) result[name] = await imageReader.uploaded(value, `base_request.${name}`)
    }
    return result
  }

  return {
    async submit (call) {
      const request = readFields(BotBatchRequest, call.fields)
      const unknown = unknownFields(BotBatchRequest, call.fields).filter(({ field }) => !imageField.test(field))
      const strict = request.strict || request.base_request.strict === true
      if (strict) refuse(unknown)
      const base = await withUploads({
        // the files of a form accompany the base request
        ...Object.fromEntries(Object.entries(call.fields).filter(([name]) => imageField.test(name))),
        ...request.base_request,
        ...readFields(WebhookFields, call.fields),
        user_id: plainUserId(request.user_id),
        strict
      })
      const kind = request.type ?? kindOf(base)
      const { cells, axes } = expandGrid({ ...request, base_request: base }, {
        knownFields, maxCells: rules.maxInBatch, randomSeed: () => randomSeed(below => randomInt(below))
      })
      const prepared = []
      for (const [index, { fields }] of cells.entries()) {
        const variation = Math.floor(index * request.variations.length / cells.length)
        const describeError = (error: unknown) => inBatch(error, request, variation)
        const one = await generations.prepare(kind, { ...call, fields }).catch(error => { throw describeError(error) })
        prepared.push({ ...one, describeError })
      }
      const id = randomUUID()
      const batchOf = (jobIds: readonly string[]): Batch => ({
        id,
        keyId: call.keyId,
        user: plainUserId(request.user_id),
        name: request.batch_name,
        axes,
        cells: cells.map(({ label }, index) => ({ jobId: jobIds[index] ?? '', label })),
        createdAt: Date.now()
      })
      const accepted = await generations.submit(prepared, async ids => {
        await redis.multi().set(batchKey(id), JSON.stringify(batchOf(ids))).sadd(allKey, id).exec()
      })
      await forgetSome()
      const allWarnings = [...warningsOfUnknown(unknown), ...accepted.flatMap(one => one.warnings)]
      const warnings = new Map(allWarnings.map(warning => [warning.message, warning]))
      return { batch: batchOf(accepted.map(one => one.id)), warnings: [...warnings.values()] }
    },
    find: async id => await readJson<Batch>(redis, batchKey(id)),
    remove: async ({ id }) => { await forget(id) },
    async jobs ({ cells }) {
      const found = new Map((await store.readMany(cells.map(({ jobId }) => jobId))).map(job => [job.id, job]))
      return cells.map(({ jobId }) => found.get(jobId) ?? null)
    }
  }
}

/** The kind of a request without a type, by fields that only one kind has. */
function kindOf (fields: Readonly<Record<string, unknown>>): GenerationKind {
  if (isRecord(fields.regional_config)) return 'regional'
  if (Object.keys(fields).some(name => name.startsWith('outpaint_pixels_'))) return 'outpaint'
  if (fields.mask !== undefined) return 'inpaint'
  if (fields.controlnet_units !== undefined) return 'controlnet'
  return fields.image === undefined ? 'txt2img' : 'img2img'
}

/**
 * The present state of a batch, for a client that reaches this service under `base`. A deleted job counts as failed.
 * @param seconds until it is done; null if unknown
 */
export function batchView (
  batch: Batch, jobs: ReadonlyArray<Job | null>, { seconds, base }: Pick<JobOutlook, 'seconds' | 'base'>
): BotBatch {
  const views = jobs.map((job, index) => ({
    label: batch.cells[index]?.label ?? '',
    ...(job === null ? goneJob(batch.cells[index]?.jobId ?? '') : cellView(job, base))
  }))
  const count = (status: string) => views.filter(view => view.status === status).length
  const [completed, failed] = [count('completed'), count('failed')]
  const isDone = completed + failed === views.length
  const ends = jobs.flatMap(job => job?.endedAt ?? [])
  return {
    batch_id: batch.id,
    batch_name: batch.name,
    status: isDone ? (completed > 0 ? 'completed' : 'failed') : count('queued') === views.length ? 'queued' : 'processing',
    progress: views.reduce((sum, { status, progress }) => sum + (status === 'failed' ? 1 : progress), 0) / views.length,
    estimated_time: seconds,
    message: `${completed + failed} of ${views.length} done${failed > 0 ? `, ${failed} failed` : ''}`,
    created_at: botTime(batch.createdAt),
    completed_at: isDone && ends.length > 0 ? botTime(Math.max(...ends)) : null,
    total: views.length,
    completed,
    failed,
    axes: batch.axes.map(({ field, values }) => ({ field, values: [...values] })),
    jobs: views,
    grid_url: `${base}/generate/batch/${batch.id}/grid`
  }
}

function cellView (job: Job, base: string) {
  const { job_id: id, status, progress, message } = botJob(job, { base, position: null, seconds: null })
  return { job_id: id, status, progress, message, image_urls: urlsOf(resultImages(job), base) }
}

function goneJob (jobId: string) {
  return { job_id: jobId, status: 'failed' as const, progress: 0, message: 'deleted', image_urls: [] }
}

/** The same in the shape of a single job, for clients that know only single jobs. */
export function batchAsJob (
  batch: Batch, jobs: ReadonlyArray<Job | null>, outlook: Pick<JobOutlook, 'seconds' | 'base'>
): BotJob {
  const { batch_id: id, status, progress, message, created_at: createdAt, completed_at: completedAt, jobs: cells } =
    batchView(batch, jobs, outlook)
  return {
    job_id: id,
    status,
    progress,
    eta_relative: null,
    estimated_time: outlook.seconds,
    message: status === 'failed' ? jobs.find(job => job?.error)?.error?.message ?? message : message,
    created_at: createdAt,
    completed_at: completedAt,
    position: null,
    user_id: batch.user,
    type: 'batch',
    prompt: String(jobs[0]?.submission.parameters.prompt ?? ''),
    image_urls: cells.flatMap(cell => cell.image_urls)
  }
}

/** Whether all of its jobs have finished. */
export function batchHasEnded (jobs: ReadonlyArray<Job | null>): boolean {
  return jobs.every(job => job === null || hasEnded(job.status))
}
