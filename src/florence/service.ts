import { type EgressGuard, EgressRefusal } from '../egress/guard.ts'
import type { Reach } from '../egress/rules.ts'
import type { WebhookRequest } from '../jobs/webhook-request.ts'
import { ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { fieldsOf, textOf } from '../lib/json-values.ts'
import type { NewDelivery } from '../webhooks/delivery.ts'
import { eventId } from '../webhooks/outbox.ts'
import type { WebhookService } from '../jobs/submit.ts'
import { type FlorenceStore, type FlorenceTask, newFlorenceId } from './task.ts'

/** The owner under which the address of a task's receiver is encrypted. */
const ownerOf = (id: string): string => `florence:${id}`

/**
 * The delivery that reports the end of a task, in async-proxy's form or in the form of other events; null if no
 * receiver was named. The same task always gives the same delivery.
 * @param link address of its image, or null
 */
export function florenceDelivery (task: FlorenceTask, link: string | null): NewDelivery | null {
  const { id, keyId, webhook, status, text, image, problem, createdAt, endedAt } = task
  const type = status === 'completed' ? 'job.completed' : 'job.failed'
  if (webhook?.events.includes(type) !== true) return null
  const timestamp = endedAt ?? createdAt
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
    timestamp: new Date(timestamp).toISOString(),
    apiVersion: '1',
    data: {
      id,
      status,
      sequence: 1,
      createdAt: new Date(createdAt).toISOString(),
      finishedAt: new Date(timestamp).toISOString(),
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
    createdAt: timestamp,
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

/** Clients' actions on questions to Florence. */
export interface FlorenceService {
  readonly store: FlorenceStore
  /** @throws ServiceError naming the field, `missing_required_field` in async-proxy's words */
  order (body: unknown, by: FlorenceClient): Promise<FlorenceTask>
  /** False if it has finished. */
  cancel (id: string): Promise<boolean>
}

export interface FlorenceClient {
  readonly keyId: string | null
  readonly webhook: WebhookRequest | null
  /** Where the client reached us. */
  readonly baseUrl: string
}

export interface FlorenceServiceDependencies {
  readonly store: FlorenceStore
  readonly guard: Pick<EgressGuard, 'check'>
  readonly webhooks: WebhookService
  readonly reachOf: (keyId: string | null) => Promise<Reach>
  readonly enqueue: (id: string) => Promise<void>
}

const longest = { imageUrl: 2048, task: 200, mode: 200, prompt: 10_000 }

export function createFlorenceService (dependencies: FlorenceServiceDependencies): FlorenceService {
  const { store, guard, webhooks, reachOf, enqueue } = dependencies
  return {
    store,
    async order (body, { keyId, webhook, baseUrl }) {
      const { imageUrl, task, mode, prompt } = readQuestion(body)
      await guard.check(imageUrl, await reachOf(keyId)).catch(error => {
        if (!(error instanceof EgressRefusal)) throw error
        throw invalid('imageUrl', `cannot be fetched: ${error.message}.`)
      })
      const checked = await webhooks.check(webhook, keyId)
      const id = newFlorenceId()
      const subscription = checked === null ? null : webhooks.subscribe(checked, ownerOf(id), baseUrl)
      const order = { keyId, imageUrl: imageUrl.href, task, mode, prompt }
      const created = await store.create(id, order, subscription)
      await enqueue(id)
      return created
    },
    cancel: async id => await store.move(id, ['pending', 'processing'], 'cancelled', { endedAt: Date.now() })
  }
}

function readQuestion (body: unknown): { imageUrl: URL, task: string, mode: string, prompt: string } {
  const fields = fieldsOf(body)
  const imageUrl = (textOf(fields.imageUrl) ?? '').trim()
  const task = (textOf(fields.task) ?? '').trim()
  if (imageUrl === '' || task === '') {
    throw new ServiceError('missing_required_field', 'imageUrl and task are required',
      { field: imageUrl === '' ? 'imageUrl' : 'task' })
  }
  const url = URL.canParse(imageUrl) ? new URL(imageUrl) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '') {
    throw invalid('imageUrl', 'must be an http or https address such as https://example.org/picture.png.')
  }
  const mode = (textOf(fields.mode) ?? '').trim()
  const prompt = textOf(fields.prompt) ?? ''
  for (const [field, text] of Object.entries({ imageUrl, task, mode, prompt })) {
    const most = longest[field as keyof typeof longest]
    if (text.length > most) throw invalid(field, `must have at most ${most} characters.`)
  }
  const defaultMode = task.toLowerCase().includes('caption') ? 'Cascaded task' : 'Single task'
  return { imageUrl: url, task, mode: mode === '' ? defaultMode : mode, prompt }
}

function invalid (field: string, sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', `${field} ${sentence}`, { field })
}
