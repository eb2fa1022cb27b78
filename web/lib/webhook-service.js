import { ask, pathOf } from './api.js'
import { queryOf } from './query.js'

/** The routes of webhooks, one function each. */

const path = '/api/v1/webhooks'

export const webhooks = {
  /**
   * @param {{ state?: string, type?: string, endpoint?: string, search?: string, since?: string,
   *   limit?: number }} query
   */
  deliveries: (query, signal) => ask('GET', `${path}/deliveries?${queryOf(query)}`, { signal }),
  delivery: (id, signal) => ask('GET', pathOf(`${path}/deliveries`, id), { signal }),
  redeliver: id => ask('POST', `${pathOf(`${path}/deliveries`, id)}/redeliver`),
  stop: id => ask('POST', `${pathOf(`${path}/deliveries`, id)}/stop`),
  /** @param {{ since: string, state?: string }} span @returns {Promise<number>} how many deliveries it sends again */
  redeliverAll: async span => (await ask('POST', `${path}/redeliver`, { body: span })).count,
  endpoints: async signal => (await ask('GET', `${path}/endpoints`, { signal })).endpoints,
  enable: id => ask('POST', `${pathOf(`${path}/endpoints`, id)}/enable`),
  test: fields => ask('POST', `${path}/test`, { body: fields }),
  secret: async signal => (await ask('GET', `${path}/secret`, { signal })).webhook_secret,
  rotateSecretOf: (keyId, graceHours) =>
    ask('POST', `${pathOf('/api/v1/api-keys', keyId)}/webhook-secret/rotate`, { body: { grace_hours: graceHours } })
}
