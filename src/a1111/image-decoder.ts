import { corruptImage } from './failures.ts'

/** Turns the raw JSON text of one base64 string into bytes, piece by piece. */
export interface ImageDecoder {
  /** The bytes that this piece completes. Throws `corrupt_image`. */
  decode (text: Buffer): Buffer
  /** The last bytes. Throws `corrupt_image` if the text may not end here, or held nothing. */
  end (): Buffer
}

const backslash = 0x5c
const longestPrefix = 256
const nothing = Buffer.alloc(0)
/** JSON's short escapes that may stand in base64 text; white space is left out. */
const shortEscapes: Readonly<Record<string, string>> = { '/': '/', n: '', r: '', t: '' }

/**
 * Accepts what servers send: bare base64 or a data URL, JSON escapes, white space between, padding or none.
 * Node's own decoder skips what it does not understand, so a count of the bytes tells valid text from corrupt.
 */
export function createImageDecoder (): ImageDecoder {
  let beforePrefix: Buffer | null = nothing
  let cutEscape: Buffer = nothing
  let carry = ''
  let padding = 0
  let decodedBytes = 0

  /** The text after a `data:…,` prefix; null while it cannot be told yet. */
  function withoutPrefix (text: Buffer): Buffer | null {
    if (beforePrefix === null) return text
    const head = Buffer.concat([beforePrefix, text])
    beforePrefix = head
    if (head.length < 5) return null
    if (head.toString('latin1', 0, 5) === 'data:') {
      const comma = head.subarray(0, longestPrefix).indexOf(',')
      if (comma === -1 && head.length < longestPrefix) return null
      if (!head.toString('latin1', 0, Math.max(0, comma)).endsWith(';base64')) throw corruptImage('not a base64 data URL')
      beforePrefix = null
      return head.subarray(comma + 1)
    }
    beforePrefix = null
    return head
  }

  function unescape (text: Buffer): string {
    if (cutEscape.length === 0 && !text.includes(backslash)) return text.toString('latin1')
    const whole = Buffer.concat([cutEscape, text]).toString('latin1')
    const cut = /\\(u[\da-f]{0,3})?$/i.exec(whole)
    cutEscape = cut === null ? nothing : Buffer.from(cut[0], 'latin1')
    return whole.slice(0, whole.length - cutEscape.length)
      .replace(/\\(?:u([\da-f]{4})|(.))/gi, (_, code: string | undefined, short: string | undefined) => {
        const meant = code === undefined ? shortEscapes[short ?? ''] : String.fromCharCode(parseInt(code, 16))
        if (meant === undefined) throw corruptImage('an escape that has no place in base64')
        return meant
      })
  }

  function countPadding (text: string): void {
    const signs = text.replace(/\s/g, '')
    padding += signs.length
    if (!/^=*$/.test(signs) || padding > 2) throw corruptImage('text after its padding')
  }

  function decodeText (text: string): Buffer {
    const usable = text.length - text.length % 4
    const bytes = Buffer.from(text.slice(0, usable), 'base64')
    if (bytes.length === usable / 4 * 3) {
      carry = text.slice(usable)
      return bytes
    }
    const dense = text.replace(/\s/g, '')
    if (dense.length === text.length) throw corruptImage('characters that are not base64')
    return decodeText(dense)
  }

  function decode (text: Buffer): Buffer {
    const rest = withoutPrefix(text)
    if (rest === null) return nothing
    const plain = unescape(rest)
    if (padding > 0) {
      countPadding(plain)
      return nothing
    }
    const pad = plain.indexOf('=')
    if (pad !== -1) countPadding(plain.slice(pad))
    const bytes = decodeText(carry + (pad === -1 ? plain : plain.slice(0, pad)))
    decodedBytes += bytes.length
    return bytes
  }

  return {
    decode,
    end () {
      let before: Buffer = nothing
      if (beforePrefix !== null) {
        // too short to be told from a prefix so far; bytes of a real image are never that few, but valid they may be
        const short = beforePrefix
        beforePrefix = null
        before = decode(short)
      }
      const tail = carry.replace(/\s/g, '')
      const last = Buffer.from(tail, 'base64')
      const complete = padding === 0 || (tail.length + padding) % 4 === 0
      if (cutEscape.length > 0 || tail.length === 1 || !complete || last.length !== Math.floor(tail.length * 3 / 4)) {
        throw corruptImage('its base64 text is incomplete')
      }
      if (decodedBytes + last.length === 0) throw corruptImage('it is empty')
      return Buffer.concat([before, last])
    }
  }
}
