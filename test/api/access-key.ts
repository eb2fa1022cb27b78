import type { AccessKeyFields } from '../../src/access/keys.ts'
import type { Service } from '../helper.ts'

/** The headers of a client with a new access key, by default without a rate limit. */
export async function keyHeaders ({ services }: Pick<Service, 'services'>, fields: AccessKeyFields = {}) {
  const { accessKey, secret } = await services.accessKeys.create({ name: 'test', ratePerMinute: null, ...fields })
  return { id: accessKey.id, headers: { 'X-API-Key': accessKey.key, 'X-API-Secret': secret } }
}
