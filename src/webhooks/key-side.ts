import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import { updateKey } from '../access/key-scripts.ts'
import { deriveKey, type MasterKey } from '../access/master-key.ts'
import type { Vault } from '../access/secrets.ts'
import type { Reach } from '../egress/rules.ts'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import { publishedSecret } from './sign.ts'
import type { WebhookWish } from './subscription.ts'

/** What webhooks need to know of the access key that owns a job. */
export interface KeyFacts {
  /** False for a key that was removed or switched off: nothing is sent on its behalf any more. */
  readonly active: boolean
  readonly reach: Reach
  /** Whether events may carry images of its jobs, or links to them. */
  readonly mayReadImages: boolean
  /** Present secret first, then one that is being rotated out; in the published form. */
  readonly secrets: readonly string[]
  readonly defaultEndpoint: WebhookWish | null
}

export interface IssuedWebhookSecret {
  /** `whsec_…` */
  readonly secret: string
  /** Until when the former one signs too; null when there is none. */
  readonly previousUntil: number | null
}

/** The webhook side of access keys, kept sealed in their records. */
export interface KeySide {
  /** @param keyId null for jobs of administrators, who may reach what the settings open */
  read (keyId: string | null): Promise<KeyFacts>
  /** The secret of a key, made if there is none. @throws ServiceError `api_key_not_found` */
  issue (keyId: string): Promise<IssuedWebhookSecret>
  /** @param overlapHours how long the former secret signs beside the new one */
  rotate (keyId: string, overlapHours: number): Promise<IssuedWebhookSecret>
  setDefaultEndpoint (keyId: string, wish: WebhookWish | null): Promise<void>
  /** The secret that signs events of jobs without an access key. */
  readonly ownSecret: string
}

export interface KeySideDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly vault: Vault
  readonly masterKey: MasterKey
  readonly now?: () => number
}

const hour = 3_600_000
const fields = ['active', 'scopes', 'webhookSecret', 'webhookFormer', 'webhookFormerUntil', 'webhookDefault'] as const

const rotateSecret = loadScript<[record: string], [secret: string, until: number], 0 | 1>(
  new URL('scripts/rotate-secret.lua', import.meta.url))
const firstSecret = loadScript<[record: string], [secret: string], string | null>(
  new URL('scripts/first-secret.lua', import.meta.url))

export function createKeySide (dependencies: KeySideDependencies): KeySide {
  const { redis, keys, vault, masterKey, now = Date.now } = dependencies
  const ownSecrets = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => publishedSecret(deriveKey(key, 'webhook-secret')))
  const recordKey = (id: string) => keys.key('access-key', id)
  const secretContext = (id: string) => `access-key:${id}:webhook-secret`
  const endpointContext = (id: string) => `access-key:${id}:webhook-endpoint`
  const newSecret = () => publishedSecret(randomBytes(32))
  const notFound = () => new ServiceError('api_key_not_found', 'There is no such access key.')

  async function issue (keyId: string): Promise<IssuedWebhookSecret> {
    const sealed = await firstSecret(redis, [recordKey(keyId)], [vault.seal(newSecret(), secretContext(keyId))])
    if (sealed === null) throw notFound()
    return { secret: vault.open(sealed, secretContext(keyId)), previousUntil: null }
  }

  return {
    ownSecret: ownSecrets[0] ?? '',
    issue,
    async read (keyId) {
      if (keyId === null) {
        return { active: true, reach: 'private', mayReadImages: true, secrets: ownSecrets, defaultEndpoint: null }
      }
      const [active, scopeText, present, former, formerUntil, endpoint] = await redis.hmget(recordKey(keyId), ...fields)
      if (active === null || active === undefined) {
        return { active: false, reach: 'public', mayReadImages: false, secrets: [], defaultEndpoint: null }
      }
      const scopes = JSON.parse(scopeText ?? '[]') as string[]
      const secret = present === null || present === undefined
        ? (await issue(keyId)).secret
        : vault.open(present, secretContext(keyId))
      const overlaps = typeof former === 'string' && now() < Number(formerUntil)
      return {
        active: active === '1',
        reach: scopes.includes('*') || scopes.includes('webhooks:private') ? 'private' : 'public',
        mayReadImages: scopes.includes('*') || scopes.includes('images:read'),
        secrets: overlaps ? [secret, vault.open(former, secretContext(keyId))] : [secret],
        defaultEndpoint: typeof endpoint === 'string' && endpoint !== ''
          ? JSON.parse(vault.open(endpoint, endpointContext(keyId))) as WebhookWish
          : null
      }
    },
    async rotate (keyId, overlapHours) {
      const secret = newSecret()
      const until = overlapHours === 0 ? 0 : now() + overlapHours * hour
      const done = await rotateSecret(redis, [recordKey(keyId)], [vault.seal(secret, secretContext(keyId)), until])
      if (done !== 1) throw notFound()
      return { secret, previousUntil: until === 0 ? null : until }
    },
    async setDefaultEndpoint (keyId, wish) {
      const sealed = wish === null ? '' : vault.seal(JSON.stringify(wish), endpointContext(keyId))
      const done = await updateKey(redis, [recordKey(keyId)], [keys.channel('access-keys'), 'webhookDefault', sealed])
      if (done !== 1) throw notFound()
    }
  }
}
