import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Redis } from 'ioredis'
import { SettingsError } from '../config/parse.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { createKeyCache } from './key-cache.ts'
import {
  type AccessKey, type AccessKeyFields, parseAccessKey, parseHashes, rateGiven, type SecretHashes, toHash
} from './key-record.ts'
import { createKey, noteUse, removeKey, replaceHash, rotateKey, updateKey } from './key-scripts.ts'
import { defaultScopes, type Principal } from './principal.ts'
import { deriveKey, type MasterKey } from './secrets.ts'

/**
 * Hashes of access key secrets. A secret has 256 random bits, so one HMAC under a pepper that is not in Redis is
 * enough; with a slow hash, wrong secrets could keep the processor busy.
 */
export interface SecretHasher {
  /** @returns the hash as hex */
  readonly hash: (id: string, secret: string) => string
  /**
   * `outdated` fits, but was hashed before the master key was rotated and must be hashed again; `former` is the secret
   * before the key's own rotation, inside its grace period.
   */
  readonly check: (id: string, secret: string, hashes: SecretHashes, timestamp: number) => SecretCheck
  /** Hashes of a lone secret, under the present and the former master key. */
  readonly fingerprints: (secret: string) => string[]
  /** Takes as long as a check, for keys that do not exist. */
  readonly checkNothing: (secret: string) => void
}

export type SecretCheck = 'current' | 'outdated' | 'former' | 'wrong'

function createSecretHasher (masterKey: MasterKey): SecretHasher {
  const peppers = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => deriveKey(key, 'api-key-pepper'))
  const nothing: SecretHashes = { current: randomBytes(32), previous: null, previousUntil: 0 }

  const digest = (pepper: Buffer, id: string, secret: string) =>
    createHmac('sha256', pepper).update(`v1|${id}|${secret}`).digest()

  function check (id: string, secret: string, hashes: SecretHashes, timestamp: number): SecretCheck {
    const [current, ...former] = peppers.map(pepper => digest(pepper, id, secret))
    if (current !== undefined && equal(current, hashes.current)) return 'current'
    if (former.some(candidate => equal(candidate, hashes.current))) return 'outdated'
    const { previous, previousUntil } = hashes
    if (previous === null || timestamp >= previousUntil) return 'wrong'
    return [current, ...former].some(candidate => candidate !== undefined && equal(candidate, previous))
      ? 'former'
      : 'wrong'
  }

  return {
    hash: (id, secret) => createHmac('sha256', peppers[0] ?? '').update(`v1|${id}|${secret}`).digest('hex'),
    check,
    fingerprints: secret => peppers.map(pepper => digest(pepper, '', secret).toString('hex')),
    checkNothing: secret => { check('00000000-0000-0000-0000-000000000000', secret, nothing, 0) }
  }
}

function equal (one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Counts uses of keys here and writes them together, so that a request costs no write of its own. */
export interface KeyUsage {
  readonly note: (id: string, timestamp: number) => void
  /** The key with the uses added that are not written yet. */
  readonly withPending: (accessKey: AccessKey) => AccessKey
  readonly flush: () => Promise<void>
  readonly close: () => Promise<void>
}

/** @param recordKey name of a key's record in Redis */
function createKeyUsage (
  { redis, recordKey, flushSeconds }: { redis: Redis, recordKey: (id: string) => string, flushSeconds: number }
): KeyUsage {
  let pending = new Map<string, { uses: number, last: number }>()
  // An unsuccessful write leaves the counts for the next round.
  const timer = setInterval(() => { flush().catch(() => {}) }, flushSeconds * 1000)
  timer.unref()

  function add (id: string, uses: number, last: number): void {
    const known = pending.get(id)
    pending.set(id, { uses: uses + (known?.uses ?? 0), last: Math.max(last, known?.last ?? 0) })
  }

  async function flush (): Promise<void> {
    if (pending.size === 0) return
    const batch = pending
    pending = new Map()
    await Promise.all([...batch].map(async ([id, { uses, last }]) => {
      await noteUse(redis, [recordKey(id)], [uses, last]).catch(() => { add(id, uses, last) })
    }))
  }

  return {
    note: (id, timestamp) => add(id, 1, timestamp),
    withPending (accessKey) {
      const more = pending.get(accessKey.id)
      if (more === undefined) return accessKey
      return {
        ...accessKey,
        usageCount: accessKey.usageCount + more.uses,
        lastUsedAt: Math.max(more.last, accessKey.lastUsedAt ?? 0)
      }
    },
    flush,
    async close () {
      clearInterval(timer)
      await flush()
    }
  }
}

export type { AccessKey, AccessKeyFields } from './key-record.ts'

export interface NewAccessKey extends AccessKeyFields { name: string }

/** A key together with its secret, which cannot be read again later. */
export interface IssuedKey {
  readonly accessKey: AccessKey
  readonly secret: string
}

/** The access keys of this installation, kept in Redis. */
export interface AccessKeys {
  readonly create: (fields: NewAccessKey) => Promise<IssuedKey>
  /** Answers null if there is a key already, also for two requests at once. */
  readonly createFirst: (fields: NewAccessKey) => Promise<IssuedKey | null>
  readonly isEmpty: () => Promise<boolean>
  readonly count: () => Promise<number>
  /** Newest first. */
  readonly list: () => Promise<AccessKey[]>
  /** @throws ServiceError api_key_not_found, as do the three below */
  readonly get: (id: string) => Promise<AccessKey>
  readonly update: (id: string, fields: AccessKeyFields) => Promise<AccessKey>
  readonly remove: (id: string) => Promise<AccessKey>
  /** @param graceHours how long the former secret stays valid, 0 to 168 */
  readonly rotate: (id: string, graceHours: number) => Promise<IssuedKey>
  /** The holder of these credentials; null if they are wrong or the key is switched off. Counts as a use of the key. */
  readonly verify: (key: string, secret: string) => Promise<Principal | null>
  /** The same for a secret that came alone. */
  readonly verifySecret: (secret: string) => Promise<Principal | null>
  /** Whether a secret is or was that of a key, in any state. */
  readonly knowsSecret: (secret: string) => Promise<boolean>
  /** Checks credentials for a session of the web UI; null if they are wrong or the key is switched off. */
  readonly signIn: (key: string, secret: string) => Promise<KeySignIn | null>
  /**
   * The present holder of a signed-in key, as its session; null if the key was removed, switched off or given another
   * secret. Counts as a use of the key.
   */
  readonly signedIn: (signIn: Pick<KeySignIn, 'key' | 'rotations'>) => Promise<Principal | null>
  /** The present holder of a key that was verified before; null if it was removed or switched off. */
  readonly holder: (id: string) => Promise<Principal | null>
  /** Whether jobs of this key go to the background unless a request says otherwise. */
  readonly isInBackground: (id: string) => Promise<boolean>
  /**
   * Creates the key of the setting BOOTSTRAP_API_KEY (`key:secret`, with all rights) if there is no key yet, and
   * answers whether it did.
   * @throws SettingsError if it is not of that form
   */
  readonly importFirst: (pair: string) => Promise<boolean>
  /** The rate that such fields give a key; null for no limit, undefined if they leave it unchanged. */
  readonly rateGiven: (fields: AccessKeyFields) => number | null | undefined
  /** Writes pending use counts. */
  readonly flush: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Proof of a correct secret, for as long as the key keeps that secret. */
export interface KeySignIn {
  /** The public half. */
  readonly key: string
  readonly rotations: number
  /** When a former secret stops working, in milliseconds since the epoch; null for the present one. */
  readonly until: number | null
}

export interface AccessKeysDependencies {
  readonly redis: Redis
  /** A connection for subscriptions; it can be shared, and the client closes it. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly masterKey: MasterKey
  /** Requests a minute for keys without a rate of their own; 0 for no limit. */
  readonly defaultRatePerMinute: number
  readonly now?: () => number
}

const hourMs = 3_600_000

/** Fields of a key for verification. */
interface Lookup {
  readonly accessKey: AccessKey
  readonly hashes: SecretHashes
}

export async function createAccessKeys (dependencies: AccessKeysDependencies): Promise<AccessKeys> {
  const { redis, subscriber, keys, masterKey, defaultRatePerMinute, now = Date.now } = dependencies
  const channel = keys.channel('access-keys')
  const list = keys.key('access-keys')
  const byPublicHalf = keys.key('access-keys', 'by-key')
  const bySecret = keys.key('access-keys', 'by-secret')
  const recordKey = (id: string) => keys.key('access-key', id)
  const hasher = createSecretHasher(masterKey)
  const usage = createKeyUsage({ redis, recordKey, flushSeconds: 60 })
  const cache = await createKeyCache<Lookup>({ subscriber, channel, load: look, now, seconds: 30 })

  async function look (key: string): Promise<Lookup | null> {
    const id = await redis.hget(byPublicHalf, key)
    if (id === null) return null
    const hash = await redis.hgetall(recordKey(id))
    const accessKey = parseAccessKey(id, hash, defaultRatePerMinute)
    return accessKey === null ? null : { accessKey, hashes: parseHashes(hash) }
  }

  /** Entries of former secrets stay behind; a key found by one is checked like any other. */
  async function indexSecret (key: string, secret: string): Promise<void> {
    await redis.hset(bySecret, hasher.fingerprints(secret)[0] ?? '', key)
  }

  async function get (id: string): Promise<AccessKey> {
    const accessKey = parseAccessKey(id, await redis.hgetall(recordKey(id)), defaultRatePerMinute)
    if (accessKey === null) throw notFound(id)
    return usage.withPending(accessKey)
  }

  async function store (
    when: 'any' | 'first', fields: NewAccessKey, key: string, secret: string
  ): Promise<IssuedKey | null> {
    const id = randomUUID()
    const hash = { ...toHash({ active: true, scopes: defaultScopes, ...fields }), hash: hasher.hash(id, secret) }
    const stored = await createKey(redis, [recordKey(id), list, byPublicHalf],
      [when, channel, id, now(), key, ...Object.entries(hash).flat()])
    if (stored !== 1) return null
    await indexSecret(key, secret)
    cache.forget(key)
    return { accessKey: await get(id), secret }
  }

  /** Changes one record and drops the cached key. */
  async function change (id: string, script: () => Promise<0 | 1>) {
    const accessKey = await get(id)
    const changed = await script()
    cache.forget(accessKey.key)
    if (changed !== 1) throw notFound(id)
    return accessKey
  }

  async function verify (key: string, secret: string): Promise<Principal | null> {
    const verified = await check(key, secret)
    return verified === null ? null : principalOf(verified.accessKey)
  }

  /** Verifies a secret, which counts as a use of the key. */
  async function check (
    key: string, secret: string
  ): Promise<{ readonly accessKey: AccessKey, readonly isFormer: boolean } | null> {
    const found = await cache.read(key)
    if (found === null) {
      hasher.checkNothing(secret)
      return null
    }
    const { accessKey, hashes } = found
    const outcome = hasher.check(accessKey.id, secret, hashes, now())
    if (outcome === 'wrong' || !accessKey.active) return null
    if (outcome === 'outdated') {
      await replaceHash(redis, [recordKey(accessKey.id)],
        ['hash', hashes.current.toString('hex'), hasher.hash(accessKey.id, secret)])
      await indexSecret(key, secret)
      cache.forget(key)
    }
    usage.note(accessKey.id, now())
    return { accessKey, isFormer: outcome === 'former' }
  }

  return {
    async create (fields) {
      const issued = await store('any', fields, newPublicHalf(), newSecret())
      if (issued === null) throw new ServiceError('internal_server_error', 'No free public half was found; try again')
      return issued
    },
    createFirst: async fields => await store('first', fields, newPublicHalf(), newSecret()),
    isEmpty: async () => await redis.zcard(list) === 0,
    count: async () => await redis.zcard(list),

    async list () {
      const ids = await redis.zrange(list, '+inf', '-inf', 'BYSCORE', 'REV')
      const pipeline = redis.pipeline()
      for (const id of ids) pipeline.hgetall(recordKey(id))
      const answers = await pipeline.exec() ?? []
      return ids.flatMap((id, index) => {
        const [error, hash] = answers[index] ?? []
        if (error) throw error
        const accessKey = parseAccessKey(id, hash as Record<string, string>, defaultRatePerMinute)
        return accessKey === null ? [] : [usage.withPending(accessKey)]
      })
    },

    get,
    async update (id, fields) {
      const hash = Object.entries(toHash(fields))
      if (hash.length > 0) {
        await change(id, async () => await updateKey(redis, [recordKey(id)], [channel, ...hash.flat()]))
      }
      return await get(id)
    },
    remove: async id => await change(id, async () =>
      await removeKey(redis, [recordKey(id), list, byPublicHalf], [channel, id])),
    async rotate (id, graceHours) {
      const secret = newSecret()
      const until = graceHours === 0 ? 0 : now() + graceHours * hourMs
      const { key } = await change(id, async () =>
        await rotateKey(redis, [recordKey(id)], [channel, hasher.hash(id, secret), until]))
      await indexSecret(key, secret)
      return { accessKey: await get(id), secret }
    },

    verify,
    async verifySecret (secret) {
      const keysFound = await redis.hmget(bySecret, ...hasher.fingerprints(secret))
      const key = keysFound.find(found => found !== null) ?? null
      return key === null ? null : await verify(key, secret)
    },

    knowsSecret: async secret =>
      (await redis.hmget(bySecret, ...hasher.fingerprints(secret))).some(key => key !== null),

    async signIn (key, secret) {
      const verified = await check(key, secret)
      if (verified === null) return null
      const { accessKey: { rotations, previousSecretUntil }, isFormer } = verified
      return { key, rotations, until: isFormer ? previousSecretUntil : null }
    },
    async signedIn ({ key, rotations }) {
      const accessKey = (await cache.read(key))?.accessKey
      if (accessKey?.active !== true || accessKey.rotations !== rotations) return null
      usage.note(accessKey.id, now())
      return { ...principalOf(accessKey), kind: 'session' }
    },

    async holder (id) {
      const accessKey = parseAccessKey(id, await redis.hgetall(recordKey(id)), defaultRatePerMinute)
      return accessKey?.active === true ? principalOf(accessKey) : null
    },

    isInBackground: async id => await redis.hget(recordKey(id), 'background') === '1',

    async importFirst (pair) {
      const [, key, secret] = /^(mk_[0-9A-Za-z]{8,64}):([!-~]{16,256})$/.exec(pair) ?? []
      if (key === undefined || secret === undefined) {
        throw new SettingsError('BOOTSTRAP_API_KEY is (hidden), but must be mk_… and a secret of at least 16 ' +
          'characters, joined by a colon')
      }
      return await store('first', { name: 'Bootstrap key', scopes: ['*'] }, key, secret) !== null
    },

    rateGiven: fields => rateGiven(fields, defaultRatePerMinute),
    flush: usage.flush,
    async close () {
      await usage.close()
      await cache.close()
    }
  }
}

function principalOf (accessKey: AccessKey): Principal {
  return {
    kind: 'key',
    keyId: accessKey.id,
    rotations: accessKey.rotations,
    name: accessKey.name,
    scopes: new Set(accessKey.scopes),
    ratePerMinute: accessKey.ratePerMinute,
    dropIn: accessKey.dropIn
  }
}

function newPublicHalf (): string {
  return `mk_${randomBytes(12).toString('hex')}`
}

function newSecret (): string {
  return randomBytes(32).toString('hex')
}

function notFound (id: string): ServiceError {
  return new ServiceError('api_key_not_found', `There is no access key with the id ${id.slice(0, 64)}`)
}
