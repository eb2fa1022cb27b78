import type { DeliveryFilter, DeliveryPage, Endpoint, IssuedSecret, Message, WholeDelivery } from './api-types.ts'
import { ask, pathOf } from './api.ts'
import { queryOf } from './query.ts'

/** The routes of webhooks, one function each. */

const path = '/api/v1/webhooks'

export const webhooks = {
  deliveries: (query: DeliveryFilter, signal: AbortSignal) => ask<DeliveryPage>('GET', `${path}/deliveries?${queryOf(query)}`, { signal }),
  delivery: (id: string, signal: AbortSignal) => ask<WholeDelivery>('GET', pathOf(`${path}/deliveries`, id), { signal }),
  redeliver: (id: string) => ask<Message>('POST', `${pathOf(`${path}/deliveries`, id)}/redeliver`),
  stop: (id: string) => ask<Message>('POST', `${pathOf(`${path}/deliveries`, id)}/stop`),
  /** @returns how many deliveries it sends again */
  redeliverAll: async (span: {
    since: string
    state?: string
  }) => (await ask<{ count: number }>('POST', `${path}/redeliver`, { body: span })).count,
  endpoints: async (signal: AbortSignal) => (await ask<{ endpoints: Endpoint[] }>('GET', `${path}/endpoints`, { signal })).endpoints,
  enable: (id: string) => ask<Message>('POST', `${pathOf(`${path}/endpoints`, id)}/enable`),
  test: (fields: {
    webhook_url: string
    webhook_key?: string
  }) => ask<WholeDelivery>('POST', `${path}/test`, { body: fields }),
  secret: async (signal?: AbortSignal) => (await ask<IssuedSecret>('GET', `${path}/secret`, { signal })).webhook_secret,
  rotateSecretOf: (keyId: string, graceHours: number) =>
    ask<IssuedSecret>('POST', `${pathOf('/api/v1/api-keys', keyId)}/webhook-secret/rotate`, { body: { grace_hours: graceHours } })
}
