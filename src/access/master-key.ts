import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { SettingsError } from '../config/parse.ts'
import type { Keys } from '../redis/keys.ts'
import { readOrCreateSecretFile } from './secret-file.ts'

/** All keys that secrets are kept under come from this one; it never enters Redis. */
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
 * The master key of the settings, or of DATA_DIR/master.key, which is made on the first start.
 * @throws SettingsError when a key is not 32 bytes as base64 or hex
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

/** A 32-byte key for one purpose; keys of different purposes tell nothing about each other. */
export function deriveKey (masterKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey, 'stablequeue', purpose, keyBytes))
}

/**
 * Refuses a master key that is not the one which the data in Redis was written under, so that a lost key is
 * told at start instead of answering 401 to everybody. The first start leaves the value to compare with.
 * @throws Error when neither the key nor its predecessor fits
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
    'MASTER_KEY_PREVIOUS')
}

function checkValue (masterKey: Buffer): string {
  return createHmac('sha256', deriveKey(masterKey, 'key-check')).update('stablequeue').digest('hex')
}
