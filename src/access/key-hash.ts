import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { deriveKey, type MasterKey } from './master-key.ts'
import type { SecretHashes } from './key-record.ts'

/**
 * Hashes of access key secrets. A secret has 256 random bits, so one HMAC under a pepper that is not in Redis is
 * enough; a slow hash would only let anybody keep the processor busy with wrong secrets.
 */
export interface SecretHasher {
  /** @returns the hash as hex */
  readonly hash: (id: string, secret: string) => string
  /**
   * `outdated` fits, but was hashed before the master key was rotated and ought to be hashed anew; `former` is
   * the secret before the key's own rotation, inside its grace period.
   */
  readonly check: (id: string, secret: string, hashes: SecretHashes, moment: number) => SecretCheck
  /** What a secret alone is known by, under the present and the former master key. */
  readonly fingerprints: (secret: string) => string[]
  /** Takes as long as a check, for keys that do not exist. */
  readonly checkNothing: (secret: string) => void
}

export type SecretCheck = 'current' | 'outdated' | 'former' | 'wrong'

export function createSecretHasher (masterKey: MasterKey): SecretHasher {
  const peppers = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => deriveKey(key, 'api-key-pepper'))
  const nothing: SecretHashes = { current: randomBytes(32), previous: null, previousUntil: 0 }

  const digest = (pepper: Buffer, id: string, secret: string) =>
    createHmac('sha256', pepper).update(`v1|${id}|${secret}`).digest()

  function check (id: string, secret: string, hashes: SecretHashes, moment: number): SecretCheck {
    const [current, ...former] = peppers.map(pepper => digest(pepper, id, secret))
    if (current !== undefined && equal(current, hashes.current)) return 'current'
    if (former.some(candidate => equal(candidate, hashes.current))) return 'outdated'
    const { previous, previousUntil } = hashes
    if (previous === null || moment >= previousUntil) return 'wrong'
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
