import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { deriveKey, type MasterKey } from './master-key.ts'

/** Keeps secrets that the service must be able to read again, such as a server's password. */
export interface Vault {
  /**
   * @param context what the secret belongs to, such as `server:<id>:password`; sealed text opens only under the
   *   same context, so it is of no use when copied to another record
   */
  readonly seal: (text: string, context: string) => string
  /** @throws Error when the text was changed, belongs elsewhere or was sealed under an unknown key */
  readonly open: (sealed: string, context: string) => string
  /** True for what the key before the rotation sealed, and ought to be sealed anew. */
  readonly isOutdated: (sealed: string) => boolean
}

const ivBytes = 12
// Named everywhere: without it Node accepts tags as short as 4 bytes.
const authTagLength = 16

/** AES-256-GCM under keys derived from the master key; text form `v1:<key id>:<base64url of iv, tag, ciphertext>`. */
export function createVault (masterKey: MasterKey): Vault {
  const current = vaultKey(masterKey.current)
  const known = masterKey.previous === null ? [current] : [current, vaultKey(masterKey.previous)]

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

function vaultKey (masterKey: Buffer): { id: string, key: Buffer } {
  const key = deriveKey(masterKey, 'secrets')
  return { key, id: createHash('sha256').update(key).digest('hex').slice(0, 8) }
}
