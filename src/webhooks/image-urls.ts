import { createHmac, timingSafeEqual } from 'node:crypto'
import { deriveKey, type MasterKey } from '../access/master-key.ts'

/** Links to images that work without a key, for a while. */
export interface ImageUrls {
  /**
   * @param baseUrl where callers reach this service, without a slash at its end
   * @param expires milliseconds since the epoch; whole seconds count
   */
  sign (baseUrl: string, name: string, expires: number): string
  /** Whether these query parameters are those of a link to this image that is still good. */
  fits (name: string, query: { readonly exp?: unknown, readonly sig?: unknown }, now?: number): boolean
}

export function createImageUrls (masterKey: MasterKey): ImageUrls {
  const keys = [masterKey.current, ...(masterKey.previous === null ? [] : [masterKey.previous])]
    .map(key => deriveKey(key, 'image-urls'))
  const digest = (key: Buffer, name: string, exp: string) =>
    createHmac('sha256', key).update(`${name}\n${exp}`).digest()

  return {
    sign (baseUrl, name, expires) {
      const exp = String(Math.ceil(expires / 1000))
      const sig = digest(keys[0] ?? Buffer.alloc(0), name, exp).toString('base64url')
      return `${baseUrl}/outputs/${name}?exp=${exp}&sig=${sig}`
    },
    fits (name, { exp, sig }, now = Date.now()) {
      if (typeof exp !== 'string' || typeof sig !== 'string' || !/^\d{1,12}$/.test(exp)) return false
      const given = Buffer.from(sig, 'base64url')
      const genuine = keys.some(key => {
        const expected = digest(key, name, exp)
        return given.length === expected.length && timingSafeEqual(given, expected)
      })
      return genuine && now < Number(exp) * 1000
    }
  }
}
