import { stringifyJson } from '../lib/exact-json.ts'
import type { NewDelivery } from '../webhooks/delivery.ts'
import { eventId } from '../webhooks/event-id.ts'
import type { FlorenceTask } from './task.ts'

/** Who may open the address of a task's receiver. */
export const ownerOf = (id: string): string => `florence:${id}`

/**
 * The delivery that tells how a task ended, in async-proxy's form or as other events are; null where nobody wants to
 * know. The same task gives the same delivery, however often it is made.
 * @param link address of its image, or null
 */
export function florenceDelivery (task: FlorenceTask, link: string | null): NewDelivery | null {
  const { id, keyId, webhook, status, text, image, problem, createdAt, endedAt } = task
  const type = status === 'completed' ? 'job.completed' : 'job.failed'
  if (webhook?.events.includes(type) !== true) return null
  const moment = endedAt ?? createdAt
  const images = link === null || webhook.images === 'none' ? [] : [link]
  const legacy = {
    uuid: id,
    job_status: status === 'completed' ? 'completed' : 'error',
    progress: 1,
    images,
    seed: null,
    info: problem ?? text,
    tags: null,
    type,
    sequence: 1,
    metadata: null
  }
  const standard = {
    type,
    timestamp: new Date(moment).toISOString(),
    apiVersion: '1',
    data: {
      id,
      status,
      sequence: 1,
      createdAt: new Date(createdAt).toISOString(),
      finishedAt: new Date(moment).toISOString(),
      workflow: 'florence',
      result: status === 'completed' ? { text, images: images.map(url => ({ url })) } : null,
      error: problem === null ? null : { code: 'florence_failed', message: problem, retryable: false }
    }
  }
  return {
    id: eventId(id, type, 1),
    type,
    jobId: null,
    keyId,
    sequence: 1,
    createdAt: moment,
    endpoint: webhook.endpoint,
    shownUrl: webhook.shownUrl,
    sealed: webhook.sealed,
    owner: ownerOf(id),
    auth: webhook.auth,
    format: webhook.format,
    body: stringifyJson(webhook.format === 'legacy' ? legacy : standard),
    files: webhook.images === 'base64' && image !== null ? [image] : [],
    trace: null
  }
}
