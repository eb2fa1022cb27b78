import type { BotJob, BotQueue } from '../../schemas/bots-job.ts'
import { hasEnded } from '../../schemas/job.ts'
import type { Estimates } from '../jobs/estimates.ts'
import type { Job, JobImage } from '../jobs/job.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { isMediaReference } from '../lib/media-types.ts'
import type { MediaStore } from '../media/store.ts'
import { imageList } from '../sdapi/answer.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import { botStates, botTime, botWarnings } from './errors.ts'

export interface JobOutlook {
  /** The path before all addresses of this service, as the client reaches it. */
  readonly base: string
  /** Position in the queue, from 1; null unless it waits. */
  readonly position: number | null
  /** Until it is done; null if unknown. */
  readonly seconds: number | null
}

/** A job as clients of this interface see it. */
export function botJob (job: Job, { base, position, seconds: predicted }: JobOutlook): BotJob {
  const own = job.status === 'processing' ? job.progress?.etaSeconds ?? null : null
  const seconds = own ?? predicted
  return {
    job_id: job.id,
    status: botStates[job.status],
    progress: progressOf(job),
    eta_relative: job.status === 'processing' ? seconds : null,
    estimated_time: hasEnded(job.status) || seconds === null ? null : Math.ceil(seconds),
    message: messageOf(job, position),
    created_at: botTime(job.createdAt),
    completed_at: job.endedAt === null ? null : botTime(job.endedAt),
    position,
    user_id: job.submission.studio?.user ?? null,
    type: job.submission.studio?.kind ?? job.submission.mode,
    prompt: String(job.submission.parameters.prompt ?? ''),
    image_urls: urlsOf(resultImages(job), base)
  }
}

/** 0 while it waits, 1 once it is completed, else the progress that it had reached. */
function progressOf ({ status, progress }: Pick<Job, 'status' | 'progress'>): number {
  if (status === 'completed') return 1
  if (status === 'pending') return 0
  return Math.min(1, Math.max(0, progress?.fraction ?? 0))
}

function messageOf (job: Job, position: number | null): string {
  if (job.status === 'cancelled') return 'cancelled'
  if (job.status === 'failed') return job.error?.message ?? 'failed'
  if (job.status === 'completed') return 'Generation completed'
  if (job.status === 'pending') return position === null ? 'Waiting in queue' : `Position in queue: ${position}`
  const { step = null, steps = null } = job.progress ?? {}
  return step === null || steps === null ? 'Generating' : `Step ${step} of ${steps}`
}

/** The requested images, without maps and contact sheets. */
export function resultImages (job: Pick<Job, 'result'>): JobImage[] {
  return (job.result?.images ?? []).filter(({ role }) => role === 'image')
}

/** Addresses of images, for a client that reaches this service under `base`. */
export function urlsOf (images: readonly JobImage[], base: string): string[] {
  return images.map(({ name }) => `${base}/outputs/${name}`)
}

/** Form of images: base64, or addresses on this service, which the client reaches under `base`. */
export type ImageFormat = 'base64' | { readonly base: string }

/**
 * The result of a finished job, as JSON in pieces, so that no image is ever whole in memory. Failed jobs have no
 * images.
 */
export async function * botResult (media: MediaStore, job: Job, format: ImageFormat): AsyncGenerator<string> {
  const isDone = job.status === 'completed'
  const images = isDone ? resultImages(job) : []
  const extra = isDone ? (job.result?.images ?? []).filter(({ role }) => role !== 'image') : []
  yield `{"job_id":${stringifyJson(job.id)},"status":"${isDone ? 'completed' : 'failed'}","images":`
  yield * listOf(media, images, format)
  yield ',"extra_images":'
  yield * listOf(media, extra, format)
  const rest = {
    info: job.result?.info ?? {},
    parameters: shownParameters(job.submission.parameters),
    error: isDone ? null : messageOf(job, null),
    warnings: botWarnings([...job.submission.warnings, ...job.result?.warnings ?? []])
  }
  yield `,${stringifyJson(rest).slice(1)}`
}

/** The same of a batch: the images of all its jobs, in their order. */
export async function * botBatchResult (
  media: MediaStore, batch: BotJob, done: readonly Job[], format: ImageFormat
): AsyncGenerator<string> {
  const isDone = batch.status === 'completed'
  yield `{"job_id":${stringifyJson(batch.job_id)},"status":"${isDone ? 'completed' : 'failed'}","images":`
  yield * listOf(media, done.flatMap(resultImages), format)
  const rest = {
    extra_images: [],
    info: { jobs: done.map(({ id, result }) => ({ job_id: id, ...result?.info })) },
    parameters: { jobs: done.map(({ id, submission }) => ({ job_id: id, ...shownParameters(submission.parameters) })) },
    error: isDone ? null : batch.message,
    warnings: botWarnings(done.flatMap(({ submission, result }) =>
      [...submission.warnings, ...result?.warnings ?? []]))
  }
  yield `,${stringifyJson(rest).slice(1)}`
}

async function * listOf (media: MediaStore, images: readonly JobImage[], format: ImageFormat): AsyncGenerator<string> {
  if (format === 'base64') yield * imageList(media, images)
  else yield stringifyJson(urlsOf(images, format.base))
}

/** Images are left out, as A1111 leaves them out of its echo. */
export function shownParameters (parameters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return parseJsonText(stringifyJson(parameters, (_name, value: unknown) =>
    isMediaReference(value) ? null : value)) as Record<string, unknown>
}

/** The amount of waiting work, the same for all clients. */
export async function botQueue (
  { registry, estimates }: { readonly registry: Pick<ServerRegistry, 'list'>, readonly estimates: Pick<Estimates, 'queue'> }
): Promise<BotQueue> {
  const servers = await Promise.all(registry.list().filter(({ enabled }) => enabled).map(async ({ id, alias }) => {
    const { waiting, running, seconds } = await estimates.queue(id)
    return { alias, waiting, running, estimated_wait_time: seconds === null ? null : Math.ceil(seconds) }
  }))
  const sum = (name: 'waiting' | 'running') => servers.reduce((total, server) => total + server[name], 0)
  const waits = servers.flatMap(server => server.estimated_wait_time ?? [])
  return {
    position: servers.length === 0 ? 1 : Math.min(...servers.map(({ waiting }) => waiting)) + 1,
    total_jobs: sum('waiting') + sum('running'),
    waiting: sum('waiting'),
    running: sum('running'),
    estimated_wait_time: waits.length === 0 ? null : Math.min(...waits),
    servers
  }
}
