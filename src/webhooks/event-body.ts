import { createHmac, timingSafeEqual } from 'node:crypto'
import type { WebhookEvent } from '../../schemas/webhook.ts'
import { deriveKey, type MasterKey } from '../access/secrets.ts'
import type { Job, JobImage } from '../jobs/job.ts'
import type { WebhookFormat, WebhookImages } from '../jobs/webhook-request.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { seedText } from '../lib/seeds.ts'

/** One event of a job, from the outbox. */
export interface JobEventNotice {
  readonly type: WebhookEvent
  /** Milliseconds since the epoch. */
  readonly moment: number
  readonly sequence: number
  /** The job as it was at that time. */
  readonly job: Job
}

export interface RenderedEvent {
  /** The body, once the content of `files` is inserted. */
  readonly body: string
  /** Names of the output images that go into it as base64, in their order. */
  readonly files: readonly string[]
}

export interface RenderOptions {
  readonly images: WebhookImages
  readonly format: WebhookFormat
  readonly linkOf: (image: JobImage) => string
  /** Expiry of links, in milliseconds since the epoch. */
  readonly linksUntil: number
  readonly jobUrl: string
}

/** Longest base64 of one event, in bytes of image. */
const maxInlineBytes = 10 * 1024 * 1024

const iso = (timestamp: number | null) => timestamp === null ? null : new Date(timestamp).toISOString()

/** The body of an event: the whole job as it was then, so that receivers need no order, only the highest sequence. */
export function renderEvent (notice: JobEventNotice, options: RenderOptions): RenderedEvent {
  const images = options.images === 'none' ? [] : notice.job.result?.images ?? []
  const bytes = images.reduce((sum, image) => sum + image.bytes, 0)
  const tooLarge = options.images === 'base64' && bytes > maxInlineBytes
  const files = options.images === 'base64' && !tooLarge ? images.map(({ name }) => name) : []
  const body = options.format === 'legacy'
    ? legacyBody(notice, images, options)
    : standardBody(notice, images, options, tooLarge ? { imagesOmitted: 'too_large' } : {})
  return { body: stringifyJson(body), files }
}

function standardBody (
  {
    type, moment: timestamp, sequence, job
  }: JobEventNotice, images: readonly JobImage[], options: RenderOptions, more: object
) {
  const { result, error, submission } = job
  const seed = images[0]?.seed ?? submission.parameters.seed ?? null
  return {
    type,
    timestamp: iso(timestamp),
    apiVersion: '1',
    data: {
      id: job.id,
      status: job.status,
      sequence,
      createdAt: iso(job.createdAt),
      startedAt: iso(job.startedAt),
      finishedAt: iso(job.endedAt),
      attempts: job.starts,
      progress: job.status === 'completed' ? 1 : job.progress?.fraction ?? 0,
      parameters: submission.parameters,
      metadata: submission.metadata ?? null,
      result: result === null
        ? null
        : {
            seed,
            seedText: seedText(seed),
            partial: result.partial,
            warnings: result.warnings,
            ...(result.tags === undefined ? {} : { tags: result.tags }),
            images: images.map((image, index) => ({
              index,
              role: image.role,
              url: options.linkOf(image),
              expiresAt: iso(options.linksUntil),
              seed: image.seed,
              seedText: seedText(image.seed),
              mime: image.mime,
              width: image.width,
              height: image.height,
              bytes: image.bytes,
              sha256: image.sha256
            })),
            ...more
          },
      error: error === null
        ? null
        : { code: error.code, message: error.message, retryable: error.failureClass !== 'request' },
      links: { self: options.jobUrl }
    }
  }
}

/** The words that clients of automatic1111-async-api-proxy know. */
const legacyStatuses = {
  pending: 'pending', processing: 'generating', completed: 'completed', failed: 'error', cancelled: 'canceled'
} as const

function legacyBody ({ type, sequence, job }: JobEventNotice, images: readonly JobImage[], options: RenderOptions) {
  const { status, error, result, submission } = job
  const ended = type !== 'job.started' && type !== 'job.progress'
  return {
    uuid: job.id,
    job_status: legacyStatuses[status],
    progress: ended ? 1 : job.progress?.fraction ?? 0,
    images: images.map(options.linkOf),
    seed: submission.parameters.seed ?? null,
    info: error === null ? (result?.info ?? null) && stringifyJson(result?.info) : error.message,
    tags: result?.tags ?? null,
    type,
    sequence,
    metadata: submission.metadata ?? null
  }
}

/**
 * Inserts the base64 of its images into a body of `renderEvent`; a removed file stays a link.
 * @param read the content of an output, or null if it was removed
 */
export async function withFiles (
  { body, files, format }: RenderedEvent & { readonly format: WebhookFormat },
  read: (name: string) => Promise<Buffer | null>
): Promise<Buffer> {
  if (files.length === 0) return Buffer.from(body)
  const contents = await Promise.all(files.map(read))
  const base64 = (index: number) => contents[index]?.toString('base64')
  const value = parseJsonText(body) as { images?: string[], data?: { result?: { images: object[] } } }
  if (format === 'legacy') {
    value.images = (value.images ?? []).map((link, index) => base64(index) ?? link)
  } else {
    value.data?.result?.images.forEach((image, index) => {
      const content = base64(index)
      if (content !== undefined) Object.assign(image, { base64: content })
    })
  }
  return Buffer.from(stringifyJson(value))
}

/** Links to images that work without a key, for a while. */
export interface ImageUrls {
  /**
   *
   * @param baseUrl public address of this service, without a slash at its end
   * @param expires milliseconds since the epoch; whole seconds count
   */
  sign (baseUrl: string, name: string, expires: number): string
  /** Whether these query parameters are those of a valid link to this image. */
  fits (name: string, query: { readonly exp?: unknown, readonly sig?: unknown }, now?: number): boolean
}

export function createImageUrls (masterKey: MasterKey): ImageUrls {
  const keys = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => deriveKey(key, 'image-urls'))
  const digest = (key: Buffer, name: string, exp: string) =>
    createHmac('sha256', key).update(`${name}\n${exp}`).digest()

  return {
    sign (baseUrl, name, expires) {
      const exp = String(Math.ceil(expires / 1000))
      const sig = digest(keys[0] ?? Buffer.alloc(0), name, exp).toString('base64url')
      return `${baseUrl}/outputs/${name}?exp=${exp}&sig=${sig}`
    },
    fits (name, { exp, sig }, now = Date.now()) {
      if (typeof exp !== 'string' || typeof sig !== 'string' || !/^\d{1,12}$/.test(exp)) return false
      const given = Buffer.from(sig, 'base64url')
      const genuine = keys.some(key => {
        const expected = digest(key, name, exp)
        return given.length === expected.length && timingSafeEqual(given, expected)
      })
      return genuine && now < Number(exp) * 1000
    }
  }
}
