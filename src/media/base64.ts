import { setImmediate } from 'node:timers/promises'

/** Characters decoded at a time, a few milliseconds of work; a multiple of 4. */
const pieceLength = 1 << 20

/** Why a text is not base64; the message completes "… is not base64: ". */
export class Base64Fault extends Error {
  override readonly name = 'Base64Fault'
}

/**
 * Strict base64 of RFC 4648 §4: standard alphabet, padded, nothing after the padding; white space is skipped. Node's
 * own decoder skips unknown characters, so bytes are counted. Long texts are decoded in pieces, with the event loop
 * free in between.
 * @throws Base64Fault
 */
export async function decodeBase64 (text: string): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(Math.ceil(text.length / 4) * 3)
  let used = 0
  let carry = ''
  let ended = false
  for (let position = 0; position < text.length; position += pieceLength) {
    if (position > 0) await setImmediate()
    const piece = carry + withoutSpace(text.slice(position, position + pieceLength))
    const usable = piece.length - piece.length % 4
    carry = piece.slice(usable)
    if (piece === '') continue
    if (ended) throw textAfterPadding()
    const decoded = decodePiece(bytes, used, usable === piece.length ? piece : piece.slice(0, usable))
    used += decoded
    ended = decoded < usable / 4 * 3
  }
  if (carry !== '') throw incomplete(carry)
  return bytes.subarray(0, used)
}

/** The same for a text that is still arriving. */
export interface Base64Decoder {
  /** The bytes that this piece completes. @throws Base64Fault */
  write (piece: string): Buffer
  /** @throws Base64Fault if the text must not end here */
  end (): void
}

export function createBase64Decoder (): Base64Decoder {
  let carry = ''
  let ended = false
  return {
    write (piece) {
      const text = carry + withoutSpace(piece)
      const usable = text.length - text.length % 4
      carry = text.slice(usable)
      if (text === '') return Buffer.alloc(0)
      if (ended) throw textAfterPadding()
      const bytes = Buffer.allocUnsafe(usable / 4 * 3)
      const decoded = decodePiece(bytes, 0, usable === text.length ? text : text.slice(0, usable))
      ended = decoded < bytes.length
      return bytes.subarray(0, decoded)
    },
    end () { if (carry !== '') throw incomplete(carry) }
  }
}

const textAfterPadding = () => new Base64Fault('text follows its padding')

function incomplete (carry: string): Base64Fault {
  return new Base64Fault(`its length must be a multiple of 4, "=" fills it up; ${4 - carry.length} missing`)
}

function withoutSpace (text: string): string {
  return ['\n', '\r', ' ', '\t'].some(space => text.includes(space)) ? text.replace(/[ \t\r\n]+/g, '') : text
}

/** Bytes written; fewer than three a group only if padding ends the text. */
function decodePiece (target: Buffer, offset: number, text: string): number {
  if (text.includes('-') || text.includes('_')) {
    throw new Base64Fault('it uses the URL-safe alphabet; "+" and "/" are expected instead of "-" and "_"')
  }
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const written = target.write(text, offset, 'base64')
  if (written !== text.length / 4 * 3 - padding) throw new Base64Fault('it contains characters other than A-Z, a-z, 0-9, + and /')
  return written
}
