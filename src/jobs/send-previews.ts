import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { A1111Client } from '../a1111/client.ts'
import type { SmallCallOptions } from '../a1111/small-calls.ts'
import { fieldsOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import sharp from '../lib/sharp.ts'
import type { Job } from './job.ts'
import type { PreviewMessage, PreviewRequest } from './previews.ts'

/** A1111 renders a preview on each request, so only watched jobs request one. */
const path = '/sdapi/v1/progress?skip_current_image=false'

/**
 * The preview of the server's current generation, as base64; null if it generates nothing or shows nothing.
 * @throws GenerationFailure
 */
async function readPreview (client: A1111Client, options?: SmallCallOptions): Promise<string | null> {
  const { current_image: image, state } = fieldsOf(await client.readJson(path, options))
  const { job_count: jobs } = fieldsOf(state)
  return typeof image === 'string' && image !== '' && jobs !== 0 ? image : null
}

export interface Preview {
  readonly jpeg: Buffer
  readonly width: number
  readonly height: number
}

/** Longer side in pixels: large enough to recognise the image, small enough to send to many clients each second. */
const longestSide = 512
const quality = 70
/** An image that claims more is not decoded. */
const maxPixels = 64_000_000

/** A small JPEG of a server's preview; null if it is not an image. @param base64 with or without a data URL's head */
async function shrinkPreview (base64: string): Promise<Preview | null> {
  const bytes = Buffer.from(base64.replace(/^data:[^,]*,/, ''), 'base64')
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels })
      .resize(longestSide, longestSide, { fit: 'inside', withoutEnlargement: true })
      .flatten()
      .jpeg({ quality })
      .toBuffer({ resolveWithObject: true })
    return { jpeg: data, width: info.width, height: info.height }
  } catch {
    return null
  }
}

/** Sends previews from the process that serves a server to the processes with watchers. */
export interface PreviewSender {
  /** Whether a client watches this job, in any process. */
  isWatched (jobId: string): boolean
  /**
   * Fetches the server's preview and publishes it, once for all watchers; stores nothing. Call it only while this job
   * runs there.
   */
  send (job: Pick<Job, 'id' | 'keyId' | 'serverId'>, client: A1111Client): Promise<void>
  close (): void
}

export interface PreviewSenderDependencies {
  readonly redis: Redis
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
}

/** After this many milliseconds the same image is sent again, for watchers that missed it. */
const sendAgainMs = 3000

export async function createPreviewSender (
  { redis, subscriber, keys }: PreviewSenderDependencies
): Promise<PreviewSender> {
  const requestedOptions = keys.channel('preview-wishes')
  /** Until when each job is watched; watches of all jobs under the empty name. */
  const watchedUntil = new Map<string, number>()
  /** The last one sent, by server. */
  const lastSent = new Map<string, { hash: string, sentAt: number }>()

  function hear (channel: string, text: string): void {
    if (channel !== requestedOptions) return
    const { jobs, milliseconds, begins } = JSON.parse(text) as PreviewRequest
    // New watchers have not seen the last one.
    if (begins === true) lastSent.clear()
    for (const jobId of jobs) watchedUntil.set(jobId, performance.now() + milliseconds)
    for (const [jobId, until] of watchedUntil) if (until < performance.now()) watchedUntil.delete(jobId)
  }
  subscriber.on('message', hear)
  await subscriber.subscribe(requestedOptions)

  return {
    isWatched: jobId => [jobId, ''].some(name => (watchedUntil.get(name) ?? 0) > performance.now()),
    async send ({ id, keyId, serverId }, client) {
      const image = await readPreview(client)
      if (image === null) return
      const hash = createHash('sha1').update(image).digest('base64')
      const last = lastSent.get(serverId)
      if (last?.hash === hash && performance.now() - last.sentAt < sendAgainMs) return
      lastSent.set(serverId, { hash, sentAt: performance.now() })
      const preview = await shrinkPreview(image)
      if (preview === null) return
      const { jpeg, width, height } = preview
      const message: PreviewMessage = {
        job: id, key: keyId, server: serverId, width, height, moment: Date.now(), jpeg: jpeg.toString('base64')
      }
      await redis.publish(keys.channel('previews'), JSON.stringify(message))
    },
    close () { subscriber.off('message', hear) }
  }
}
