import { randomUUID } from 'node:crypto'
import { stringifyJson } from '../lib/exact-json.ts'
import type { Vault } from '../access/secrets.ts'
import type { NewDelivery } from './delivery.ts'
import { renderEvent, type JobEventNotice } from './event-body.ts'
import { eventId } from './event-id.ts'
import type { ImageUrls } from './image-urls.ts'
import { endpointId, seal, shownUrl } from './subscription.ts'
import type { CheckedWebhook } from './submission.ts'

/**
 * The delivery of a job's event; the same event gives the same delivery, whoever makes it and how often. Null for a
 * job without a receiver.
 * @param linkLifetime how long links to images are good, in milliseconds
 */
export function deliveryOf (
  notice: JobEventNotice, { imageUrls, linkLifetime }: { imageUrls: ImageUrls, linkLifetime: number }
): NewDelivery | null {
  const { type, moment, sequence, job } = notice
  const { webhook } = job
  if (webhook === null) return null
  const linksUntil = moment + linkLifetime
  const { body, files } = renderEvent(notice, {
    images: webhook.images,
    format: webhook.format,
    linksUntil,
    linkOf: ({ name }) => imageUrls.sign(webhook.baseUrl, name, linksUntil),
    jobUrl: `${webhook.baseUrl}/api/v2/jobs/${job.id}`
  })
  return {
    id: eventId(job.id, type, sequence),
    type,
    jobId: job.id,
    keyId: job.keyId,
    sequence,
    createdAt: moment,
    endpoint: webhook.endpoint,
    shownUrl: webhook.shownUrl,
    sealed: webhook.sealed,
    owner: `job:${job.id}`,
    auth: webhook.auth,
    format: webhook.format,
    body,
    files,
    trace: job.submission.trace ?? null
  }
}

/** A `webhook.test` for an address that was checked like that of a job. */
export function testDelivery ({ wish, url, keyId }: CheckedWebhook, vault: Vault, moment: number): NewDelivery {
  const owner = `test:${randomUUID()}`
  const id = eventId(owner, 'webhook.test', 1)
  return {
    id,
    type: 'webhook.test',
    jobId: null,
    keyId,
    sequence: 1,
    createdAt: moment,
    endpoint: endpointId(keyId, url),
    shownUrl: shownUrl(url),
    sealed: seal(vault, { url: url.href, key: wish.key }, owner),
    owner,
    auth: wish.auth,
    format: wish.format,
    body: stringifyJson({
      type: 'webhook.test', timestamp: new Date(moment).toISOString(), apiVersion: '1', data: { id, sequence: 1 }
    }),
    files: [],
    trace: null
  }
}
