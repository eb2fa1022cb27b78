import { createHmac, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { WebhookFields } from '../../schemas/webhook.ts'
import { updateKey } from '../access/key-scripts.ts'
import { deriveKey, type MasterKey, type Encryptor } from '../access/secrets.ts'
import type { Reach } from '../egress/rules.ts'
import type { WebhookRequest } from '../jobs/webhook-request.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * Standard Webhooks 1.0.0, symmetric: https://github.com/standard-webhooks/standard-webhooks. The receiver's library
 * wants a secret as `whsec_` and base64; any other text is taken as its UTF-8 bytes, without derivation, so that it has
 * such a form too.
 */
const prefix = 'whsec_'

/** Whether the key is of the form that only signs and is never sent. */
export function isSigningKey (key: string): boolean {
  return key.startsWith(prefix)
}

/** Whether a key of that form holds 24 to 64 bytes in standard, padded base64. */
export function isSoundSigningKey (key: string): boolean {
  const text = key.slice(prefix.length)
  const bytes = Buffer.from(text, 'base64')
  return isSigningKey(key) && bytes.toString('base64') === text && bytes.length >= 24 && bytes.length <= 64
}

export function secretBytes (key: string): Buffer {
  return isSigningKey(key) ? Buffer.from(key.slice(prefix.length), 'base64') : Buffer.from(key, 'utf8')
}

/** The form in which every Standard Webhooks library takes the key. */
export function publishedSecret (key: string | Buffer): string {
  return `${prefix}${(typeof key === 'string' ? secretBytes(key) : key).toString('base64')}`
}

/** Advice for a request with a key of another form: the form in which libraries verify with it. */
export function signingSecretOf (
  { webhookKey, webhook_key: other }: WebhookFields
): { webhook_signing_secret?: string } {
  const key = webhookKey ?? other
  return !key || isSigningKey(key) ? {} : { webhook_signing_secret: publishedSecret(key) }
}

/** The signed parts of a message besides its body. */
export interface SignedHead {
  readonly id: string
  /** Seconds since the epoch, of this attempt. */
  readonly timestamp: number
}

export function signature ({ id, timestamp }: SignedHead, body: Buffer, key: string): string {
  const digest = createHmac('sha256', secretBytes(key)).update(`${id}.${timestamp}.`).update(body).digest('base64')
  return `v1,${digest}`
}

/** One signature for each key, in their order, joined by one space each as the libraries' parsers want it. */
export function signatures (head: SignedHead, body: Buffer, keys: readonly string[]): string {
  return keys.map(key => signature(head, body, key)).join(' ')
}

/** Webhook facts about the access key that owns a job. */
export interface KeyFacts {
  /** False for a key that was removed or switched off: nothing is sent on its behalf any more. */
  readonly active: boolean
  readonly reach: Reach
  /** Whether events can carry images of its jobs, or links to them. */
  readonly mayReadImages: boolean
  /** Present secret first, then one that is being rotated out; in the published form. */
  readonly secrets: readonly string[]
  readonly defaultEndpoint: WebhookRequest | null
}

export interface IssuedWebhookSecret {
  /** `whsec_…` */
  readonly secret: string
  /** Time until which the former one signs too; null if there is none. */
  readonly previousUntil: number | null
}

/** The webhook side of access keys, encrypted in their records. */
export interface SigningKeys {
  /** @param keyId null for jobs of administrators, which can reach the addresses that the settings open */
  read (keyId: string | null): Promise<KeyFacts>
  /** The secret of a key, generated if there is none. @throws ServiceError `api_key_not_found` */
  issue (keyId: string): Promise<IssuedWebhookSecret>
  /** @param overlapHours how long the former secret signs beside the new one */
  rotate (keyId: string, overlapHours: number): Promise<IssuedWebhookSecret>
  setDefaultEndpoint (keyId: string, requested: WebhookRequest | null): Promise<void>
  /** The secret that signs events of jobs without an access key. */
  readonly ownSecret: string
}

export interface SigningKeysDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly encryptor: Encryptor
  readonly masterKey: MasterKey
  readonly now?: () => number
}

const hour = 3_600_000
const fields = ['active', 'scopes', 'webhookSecret', 'webhookFormer', 'webhookFormerUntil', 'webhookDefault'] as const

const rotateSecret = loadScript<[record: string], [secret: string, until: number], 0 | 1>(
  new URL('scripts/rotate-secret.lua', import.meta.url))
const firstSecret = loadScript<[record: string], [secret: string], string | null>(
  new URL('scripts/first-secret.lua', import.meta.url))

export function createSigningKeys (dependencies: SigningKeysDependencies): SigningKeys {
  const { redis, keys, encryptor, masterKey, now = Date.now } = dependencies
  const ownSecrets = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => publishedSecret(deriveKey(key, 'webhook-secret')))
  const recordKey = (id: string) => keys.key('access-key', id)
  const secretContext = (id: string) => `access-key:${id}:webhook-secret`
  const endpointContext = (id: string) => `access-key:${id}:webhook-endpoint`
  const newSecret = () => publishedSecret(randomBytes(32))
  const notFound = () => new ServiceError('api_key_not_found', 'There is no such access key.')

  async function issue (keyId: string): Promise<IssuedWebhookSecret> {
    const sealed = await firstSecret(redis, [recordKey(keyId)], [encryptor.seal(newSecret(), secretContext(keyId))])
    if (sealed === null) throw notFound()
    return { secret: encryptor.open(sealed, secretContext(keyId)), previousUntil: null }
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
        : encryptor.open(present, secretContext(keyId))
      const overlaps = typeof former === 'string' && now() < Number(formerUntil)
      return {
        active: active === '1',
        reach: scopes.includes('*') || scopes.includes('webhooks:private') ? 'private' : 'public',
        mayReadImages: scopes.includes('*') || scopes.includes('images:read'),
        secrets: overlaps ? [secret, encryptor.open(former, secretContext(keyId))] : [secret],
        defaultEndpoint: typeof endpoint === 'string' && endpoint !== ''
          ? JSON.parse(encryptor.open(endpoint, endpointContext(keyId))) as WebhookRequest
          : null
      }
    },
    async rotate (keyId, overlapHours) {
      const secret = newSecret()
      const until = overlapHours === 0 ? 0 : now() + overlapHours * hour
      const done = await rotateSecret(redis, [recordKey(keyId)], [encryptor.seal(secret, secretContext(keyId)), until])
      if (done !== 1) throw notFound()
      return { secret, previousUntil: until === 0 ? null : until }
    },
    async setDefaultEndpoint (keyId, requested) {
      const sealed = requested === null ? '' : encryptor.seal(JSON.stringify(requested), endpointContext(keyId))
      const done = await updateKey(redis, [recordKey(keyId)], [keys.channel('access-keys'), 'webhookDefault', sealed])
      if (done !== 1) throw notFound()
    }
  }
}
