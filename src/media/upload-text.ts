import { createHmac, timingSafeEqual } from 'node:crypto'
import { isInputName } from './names.ts'
import type { MediaReference } from './types.ts'

/** Stands where other clients put base64, for an image that was uploaded as a file and is stored already. */
export interface UploadTexts {
  textOf (reference: MediaReference): string
  /** Null for every text that this service did not write itself. */
  referenceOf (text: string): MediaReference | null
}

const grammar = /^data:image\/upload,([0-9a-f]{64}\.[a-z]{3,4})\.([\w-]{43})$/

/**
 * A plain reference in a request could be anybody's guess at another caller's image, so only those that carry this
 * service's own mark are believed.
 * @param secret known to every process that serves the same clients
 */
export function createUploadTexts (secret: Buffer): UploadTexts {
  const mark = (name: string) => createHmac('sha256', secret).update(`upload:${name}`).digest()
  return {
    textOf: ({ $media: name }) => `data:image/upload,${name}.${mark(name).toString('base64url')}`,
    referenceOf (text) {
      const [, name = '', given = ''] = text.length < 200 ? grammar.exec(text) ?? [] : []
      if (!isInputName(name)) return null
      return timingSafeEqual(Buffer.from(given, 'base64url'), mark(name)) ? { $media: name } : null
    }
  }
}
