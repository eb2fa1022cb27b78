import type { Job, JobError } from '../jobs/job.ts'
import { type JobOutcome, stopsBeforeEnd } from '../jobs/outcome.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { ServiceError } from '../lib/errors.ts'
import type { MediaStore } from '../media/store.ts'
import { base64Of } from '../sdapi/answer.ts'
import { openAiError, type OpenAiFailure, typeOf } from './errors.ts'
import type { ImagesCall } from './request.ts'

/** Nothing is billed, so no tokens are counted; the packages' types require the field. */
const usage = {
  input_tokens: 0, input_tokens_details: { image_tokens: 0, text_tokens: 0 }, output_tokens: 0, total_tokens: 0
} as const

/** How long links to images work, as OpenAI's do; in milliseconds. */
export const linkLifetime = 3_600_000

export type LinkOf = (name: string) => string

/** The result images of a job, without contact sheets and masks. */
export function picturesOf ({ result }: Pick<Job, 'result'>) {
  return (result?.images ?? []).filter(({ role }) => role === 'image')
}

/** The properties of an answer beside its images. */
export function traitsOf (job: Job, { quality }: Pick<ImagesCall, 'quality'>) {
  const [first] = picturesOf(job)
  return {
    background: 'opaque',
    output_format: first?.mime.split('/')[1] ?? 'png',
    quality,
    size: `${first?.width ?? 0}x${first?.height ?? 0}`
  }
}

/** The answer to a request, piece by piece: no image is ever whole in memory. */
export async function * imagesAnswer (
  media: MediaStore, job: Job, call: ImagesCall, linkOf: LinkOf
): AsyncGenerator<string> {
  yield `{"created":${seconds(job.endedAt)},"data":[`
  for (const [index, { name }] of picturesOf(job).entries()) {
    const link = call.form.url ? `"url":${JSON.stringify(linkOf(name))}` : ''
    yield `${index === 0 ? '' : ','}{${link}`
    if (call.form.base64) {
      yield `${link === '' ? '' : ','}"b64_json":"`
      yield * base64Of(media, name)
      yield '"'
    }
    yield '}'
  }
  yield `],${stringifyJson({ ...traitsOf(job, call), usage }).slice(1)}`
}

export type StreamKind = 'image_generation' | 'image_edit'

/** The last events of a stream: one for each image. */
export async function * completedEvents (
  media: MediaStore, job: Job, call: ImagesCall, kind: StreamKind
): AsyncGenerator<string> {
  for (const { name } of picturesOf(job)) {
    yield eventHead(`${kind}.completed`)
    yield * base64Of(media, name)
    yield eventTail({ ...traitsOf(job, call), created_at: seconds(job.endedAt), usage })
  }
}

interface PartialTraits {
  readonly kind: StreamKind
  readonly traits: Readonly<Record<string, unknown>>
}

export function partialEvent (image: Buffer, index: number, { kind, traits }: PartialTraits): string {
  return eventHead(`${kind}.partial_image`) + image.toString('base64') +
    eventTail({ ...traits, created_at: seconds(Date.now()), partial_image_index: index })
}

function eventHead (type: string): string {
  return `event: ${type}\ndata: {"type":"${type}","b64_json":"`
}

function eventTail (others: Readonly<Record<string, unknown>>): string {
  return `",${stringifyJson(others).slice(1)}\n\n`
}

/** A failure after the stream began, as OpenAI's packages read it. */
export function errorEvent ({ body }: OpenAiFailure): string {
  return `event: error\ndata: ${stringifyJson({ type: 'error', ...body })}\n\n`
}

function seconds (moment: number | null): number {
  return Math.floor((moment ?? Date.now()) / 1000)
}

/**
 * A job that ended without the images that were asked for. Its own retries are over by then, so that OpenAI's packages
 * must not repeat the request.
 */
export class FailedJob extends Error {
  override readonly name = 'FailedJob'
  readonly failure: OpenAiFailure

  constructor (
    message: string, status: number, { param = null, code }: { readonly param?: string | null, readonly code: string }
  ) {
    super(message)
    this.failure = { status, isWorthRetrying: false, body: openAiError(message, typeOf(status), { param, code }) }
  }
}

/**
 * The job whose images are the answer; null if the client has left.
 * @throws FailedJob; ServiceError `shutting_down` when this process stops before the job has ended
 */
export function jobToAnswer (id: string, outcome: JobOutcome): Job | null {
  switch (outcome.kind) {
    case 'left': return null
    case 'stopping': throw stopsBeforeEnd()
    case 'deleted': throw new FailedJob(`The job ${id} was deleted before it had images.`, 409, { code: 'job_deleted' })
    case 'lost': throw withoutImages(id)
    case 'failed': throw failed(outcome.job.error)
    case 'cancelled': throw new FailedJob(`The job ${id} was cancelled.`, 409, { code: 'job_cancelled' })
    case 'completed':
      // Repeats of a request find the job later, after people deleted images of it.
      if (picturesOf(outcome.job).length === 0) throw withoutImages(id)
      return outcome.job
  }
}

function withoutImages (id: string): FailedJob {
  return new FailedJob(`The images of the job ${id} are no longer there; they were possibly deleted. ` +
    'Repeats with the same Idempotency-Key get this answer too.', 404, { code: 'image_not_found' })
}

function failed (error: JobError | null): FailedJob {
  const { code = 'job_failed', message = 'The job failed.', failureClass } = error ?? {}
  if (code === 'checkpoint_not_found') return new FailedJob(message, 404, { param: 'model', code: 'model_not_found' })
  return new FailedJob(message, failureClass === 'request' ? 400 : 500, { code })
}

/** The link's end, or why it opens nothing. */
export function requireLink (isGenuine: boolean, exp: unknown): void {
  if (isGenuine) return
  const isOver = typeof exp === 'string' && /^\d{1,12}$/.test(exp) && Number(exp) * 1000 <= Date.now()
  throw new ServiceError('permission_denied', isOver
    ? `This link expired at ${new Date(Number(exp) * 1000).toISOString()}; links to images work for an hour. Ask for the image again.`
    : 'This link is not genuine: use the url of the answer as it is.')
}
