import { type DropInPreferences, type Scope, defaultDropIn } from './principal.ts'

/** An access key as it is stored; only its holder knows the secret. */
export interface AccessKey {
  readonly id: string
  /** The public half, `mk_` and 24 hex digits. */
  readonly key: string
  readonly name: string
  readonly description: string
  readonly active: boolean
  readonly scopes: readonly Scope[]
  /** Requests a minute; null for no limit. */
  readonly ratePerMinute: number | null
  readonly tier: RateTier
  /** Its share of the servers, relative to other keys; src/jobs/scripts read it from the record. */
  readonly shareWeight: number
  /** Whether its jobs go to the background unless a request says otherwise. */
  readonly background: boolean
  /** Text of older clients, without effect. */
  readonly permissions: string
  readonly customRateLimits: string | null
  readonly dropIn: DropInPreferences
  /** Times in milliseconds since 1970. */
  readonly createdAt: number
  readonly lastUsedAt: number | null
  readonly usageCount: number
  readonly previousSecretUntil: number | null
  /** How often its secret was replaced. */
  readonly rotations: number
}

/** Fields that decide whether a secret fits. */
export interface SecretHashes {
  readonly current: Buffer
  readonly previous: Buffer | null
  readonly previousUntil: number
}

const tierFactors = { default: 1, extended: 3, unlimited: null } as const
export type RateTier = keyof typeof tierFactors

export function isRateTier (text: string): text is RateTier {
  return Object.hasOwn(tierFactors, text)
}

/** Fields of a new or changed key; missing ones keep their value. */
export interface AccessKeyFields {
  name?: string
  description?: string
  active?: boolean
  scopes?: readonly Scope[]
  /** Null for no limit. A tier without a rate takes the tier's. */
  ratePerMinute?: number | null
  tier?: RateTier
  shareWeight?: number
  background?: boolean
  permissions?: string
  customRateLimits?: string | null
  dropIn?: Partial<DropInPreferences>
}

/** The Redis hash fields for these values. */
export function toHash (fields: AccessKeyFields): Record<string, string> {
  const hash: Record<string, string> = {}
  if (fields.name !== undefined) hash.name = fields.name
  if (fields.description !== undefined) hash.description = fields.description
  if (fields.active !== undefined) hash.active = fields.active ? '1' : '0'
  if (fields.scopes !== undefined) hash.scopes = JSON.stringify(fields.scopes)
  if (fields.tier !== undefined) {
    hash.tier = fields.tier
    hash.rate = ''
  }
  if (fields.ratePerMinute !== undefined) hash.rate = String(fields.ratePerMinute ?? 'none')
  if (fields.shareWeight !== undefined) hash.weight = String(fields.shareWeight)
  if (fields.background !== undefined) hash.background = fields.background ? '1' : ''
  if (fields.permissions !== undefined) hash.permissions = fields.permissions
  if (fields.customRateLimits !== undefined) hash.customRateLimits = fields.customRateLimits ?? ''
  if (fields.dropIn !== undefined) hash.dropIn = JSON.stringify(fields.dropIn)
  return hash
}

/**
 *
 * @param hash a Redis hash as it was read
 * @param defaultRate requests a minute for keys without a rate of their own; 0 for no limit
 */
export function parseAccessKey (id: string, hash: Record<string, string>, defaultRate: number): AccessKey | null {
  if (hash.key === undefined) return null
  const tier = isRateTier(hash.tier ?? '') ? hash.tier as RateTier : 'default'
  return {
    id,
    key: hash.key,
    name: hash.name ?? '',
    description: hash.description ?? '',
    active: hash.active === '1',
    scopes: JSON.parse(hash.scopes ?? '[]') as Scope[],
    ratePerMinute: effectiveRate(hash.rate ?? '', tier, defaultRate),
    tier,
    shareWeight: Number(hash.weight ?? 1),
    background: hash.background === '1',
    permissions: hash.permissions ?? '{}',
    customRateLimits: hash.customRateLimits || null,
    // Records of earlier versions lack the preferences that came later.
    dropIn: { ...defaultDropIn, ...JSON.parse(hash.dropIn ?? '{}') as Partial<DropInPreferences> },
    createdAt: Number(hash.created),
    lastUsedAt: hash.lastUsed === undefined ? null : Number(hash.lastUsed),
    usageCount: Number(hash.uses ?? 0),
    previousSecretUntil: hash.previousUntil === undefined ? null : Number(hash.previousUntil),
    rotations: Number(hash.rotations ?? 0)
  }
}

/** The rate that these fields give a key, in requests a minute; null for no limit, undefined if they give none. */
export function rateGiven ({ ratePerMinute, tier }: AccessKeyFields, defaultRate: number): number | null | undefined {
  if (ratePerMinute !== undefined) return ratePerMinute
  return tier === undefined ? undefined : effectiveRate('', tier, defaultRate)
}

function effectiveRate (rate: string, tier: RateTier, defaultRate: number): number | null {
  if (rate === 'none') return null
  if (rate !== '') return Number(rate)
  const factor = tierFactors[tier]
  return factor === null || defaultRate === 0 ? null : defaultRate * factor
}

export function parseHashes (hash: Record<string, string>): SecretHashes {
  return {
    current: Buffer.from(hash.hash ?? '', 'hex'),
    previous: hash.previousHash === undefined ? null : Buffer.from(hash.previousHash, 'hex'),
    previousUntil: Number(hash.previousUntil ?? 0)
  }
}
