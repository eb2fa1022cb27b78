import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { SettingsError } from '../config/parse.ts'
import type { Keys } from '../lib/keys.ts'
import { readOrCreateSecretFile } from '../lib/secret-file.ts'

/** The key from which all others derive; it never enters Redis. */
export interface MasterKey {
  readonly current: Buffer
  /** The key before a rotation, or null. */
  readonly previous: Buffer | null
}

export interface MasterKeySettings {
  readonly MASTER_KEY: string
  readonly MASTER_KEY_PREVIOUS: string
  readonly DATA_DIR: string
}

const keyBytes = 32

/**
 * The master key of the settings, or of DATA_DIR/master.key, which is created on the first start.
 * @throws SettingsError if a key is not 32 bytes as base64 or hex
 */
export async function loadMasterKey (settings: MasterKeySettings): Promise<MasterKey> {
  const previous = settings.MASTER_KEY_PREVIOUS === ''
    ? null
    : decodeKey(settings.MASTER_KEY_PREVIOUS, 'MASTER_KEY_PREVIOUS')
  if (settings.MASTER_KEY !== '') return { current: decodeKey(settings.MASTER_KEY, 'MASTER_KEY'), previous }
  const path = join(settings.DATA_DIR, 'master.key')
  const { value } = await readOrCreateSecretFile(path, () => randomBytes(keyBytes).toString('hex'))
  return { current: decodeKey(value, path), previous }
}

function decodeKey (text: string, source: string): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return Buffer.from(text, 'base64')
  throw new SettingsError(`${source} is (hidden), but must be 32 bytes as 64 hex digits or as base64`)
}

/** A 32-byte key for one purpose; keys of different purposes reveal nothing about each other. */
export function deriveKey (masterKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey, 'stablequeue', purpose, keyBytes))
}

/**
 * Refuses a master key other than the one under which the data in Redis was written, so that a lost key shows at the
 * start and not as 401 for everyone. The first start stores the value to compare with.
 * @throws Error if neither the key nor its predecessor fits
 */
export async function checkMasterKey (redis: Redis, keys: Keys, masterKey: MasterKey): Promise<void> {
  const name = keys.key('master-key-check')
  const expected = checkValue(masterKey.current)
  await redis.set(name, expected, 'NX')
  const stored = await redis.get(name)
  if (stored === expected) return
  if (masterKey.previous !== null && stored === checkValue(masterKey.previous)) {
    await redis.set(name, expected)
    return
  }
  throw new Error('The master key is not the one that the data in Redis was written under: access keys and stored ' +
    'passwords cannot be read. Restore DATA_DIR/master.key or MASTER_KEY; after a rotation, set the former key as ' +
    'MASTER_KEY_PREVIOUS. Processes with a DATA_DIR of their own need the same MASTER_KEY')
}

function checkValue (masterKey: Buffer): string {
  return createHmac('sha256', deriveKey(masterKey, 'key-check')).update('stablequeue').digest('hex')
}

/** Encrypts secrets that the service must be able to read again, such as a server's password. */
export interface Encryptor {
  /**
   * @param context what the secret belongs to, such as `server:<id>:password`; sealed text opens only under the
   *   same context, so it is of no use when copied to another record
   */
  readonly seal: (text: string, context: string) => string
  /** @throws Error if the text was changed, belongs elsewhere or was sealed under an unknown key */
  readonly open: (sealed: string, context: string) => string
  /** True for text that the key before the rotation sealed, and that must be sealed again. */
  readonly isOutdated: (sealed: string) => boolean
}

const ivBytes = 12
// Always given: without it Node accepts tags as short as 4 bytes.
const authTagLength = 16

/** AES-256-GCM under keys derived from the master key; text form `v1:<key id>:<base64url of iv, tag, ciphertext>`. */
export function createEncryptor (masterKey: MasterKey): Encryptor {
  const current = encryptionKey(masterKey.current)
  const known = masterKey.previous === null ? [current] : [current, encryptionKey(masterKey.previous)]

  return {
    seal (text, context) {
      const iv = randomBytes(ivBytes)
      const cipher = createCipheriv('aes-256-gcm', current.key, iv, { authTagLength })
      cipher.setAAD(Buffer.from(context))
      const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return `v1:${current.id}:${Buffer.concat([iv, cipher.getAuthTag(), ciphertext]).toString('base64url')}`
    },

    open (sealed, context) {
      const [version, keyId, body = ''] = sealed.split(':')
      if (version !== 'v1') throw new Error(`The secret of ${context} is not in the form v1:<key id>:<base64url>`)
      const found = known.find(candidate => candidate.id === keyId)
      if (found === undefined) {
        throw new Error(`The secret of ${context} was encrypted with another master key; set it as MASTER_KEY_PREVIOUS`)
      }
      const bytes = Buffer.from(body, 'base64url')
      if (bytes.length < ivBytes + authTagLength) throw new Error(`The secret of ${context} is cut short`)
      const decipher = createDecipheriv('aes-256-gcm', found.key, bytes.subarray(0, ivBytes), { authTagLength })
      decipher.setAAD(Buffer.from(context))
      decipher.setAuthTag(bytes.subarray(ivBytes, ivBytes + authTagLength))
      try {
        return decipher.update(bytes.subarray(ivBytes + authTagLength), undefined, 'utf8') + decipher.final('utf8')
      } catch (error) {
        throw new Error(`The secret of ${context} was changed, or belongs to something else`, { cause: error })
      }
    },

    isOutdated: sealed => sealed.split(':')[1] !== current.id
  }
}

function encryptionKey (masterKey: Buffer): { id: string, key: Buffer } {
  const key = deriveKey(masterKey, 'secrets')
  return { key, id: createHash('sha256').update(key).digest('hex').slice(0, 8) }
}
