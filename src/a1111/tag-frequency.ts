/** Counts the tags of `{"folder": {"tag": count}}`, JSON text of any length that arrives in pieces. */
export interface TagCounter {
  write (json: Buffer): void
  /** The most frequent tags, most frequent first. Truncated or invalid text returns the tags read so far. */
  top (most: number): Array<readonly [tag: string, count: number]>
}

/** Maximum bytes of a tag; a longer text is a whole caption. */
const longestTag = 256
/** Different tags that are remembered. Beyond that, the rarer half is dropped, so counts can then be too low. */
const maxRemembered = 20_000
/** Characters of a count. */
const longestCount = 32
/** Level of nesting of tags. */
const tagLevel = 2

const quote = 0x22
const backslash = 0x5c

export function createTagCounter (): TagCounter {
  let counts = new Map<string, number>()
  let level = 0
  let inString = false
  let escaped = false
  let hasEscapes = false
  /** The last or current string: its range and its bytes. */
  let source: Buffer = nothing
  let start = 0
  let end = 0
  /** Whether that string is complete and can be a tag. */
  let hasText = false
  /** The part of that tag's count read so far; null if none is expected. */
  let count: string | number | null = null

  function endValue (): void {
    if (count !== null && count !== '') add(Number(count))
    count = null
    hasText = false
  }

  function add (number: number): void {
    const tag = number > 0 ? tagText() : ''
    if (tag === '') return
    counts.set(tag, Math.min((counts.get(tag) ?? 0) + number, Number.MAX_SAFE_INTEGER))
    if (counts.size > maxRemembered) forgetRareOnes()
  }

  function tagText (): string {
    if (end - start > longestTag) return ''
    const text = source.toString('utf8', start, end)
    if (!hasEscapes) return text.trim()
    try {
      return String(JSON.parse(`"${text}"`)).trim()
    } catch {
      return ''
    }
  }

  function forgetRareOnes (): void {
    const middle = Float64Array.from(counts.values()).sort()[maxRemembered / 2] ?? 0
    const frequent = [...counts].filter(([, number]) => number > middle)
    const others = [...counts].filter(([, number]) => number === middle)
    counts = new Map([...frequent, ...others.slice(0, maxRemembered / 2 - frequent.length)])
  }

  /** Returns where the string ends, or the end of the piece. */
  function readString (json: Buffer, from: number): number {
    for (let at = from; at < json.length; at++) {
      const byte = json[at]
      if (escaped) {
        escaped = false
      } else if (byte === backslash) {
        escaped = hasEscapes = true
      } else if (byte === quote) {
        inString = false
        hasText = true
        end = at
        return at + 1
      }
    }
    return json.length
  }

  function readByte (json: Buffer, at: number): void {
    const byte = json[at] ?? 0
    if (byte === quote) {
      // a string instead of a count leaves the tag without one
      count = null
      inString = true
      hasText = hasEscapes = false
      source = json
      start = at + 1
    } else if (byte === 0x3a) { // :
      count = hasText && level === tagLevel ? '' : null
    } else if (byte === 0x2c) { // ,
      endValue()
    } else if (byte === 0x7d || byte === 0x5d) { // } ]
      endValue()
      level--
    } else if (byte === 0x7b || byte === 0x5b) { // { [
      count = null
      hasText = false
      level++
    } else if (count !== null && byte > 0x20) {
      count = withDigit(count, byte)
    }
  }

  /** Keeps the part that the next piece continues, and no more of this one. */
  function carryOver (json: Buffer): void {
    if (!inString && !hasText) {
      source = nothing
      return
    }
    const kept = source === json ? json.subarray(start, inString ? json.length : end) : source.subarray(start)
    const more = inString && source !== json ? json : nothing
    source = Buffer.concat([kept.subarray(0, longestTag + 1), more.subarray(0, longestTag + 1)])
    start = 0
    end = source.length
  }

  return {
    write (json) {
      let at = 0
      while (at < json.length) {
        if (!inString) {
          readByte(json, at)
          at++
          continue
        }
        at = readString(json, at)
        if (!inString && source !== json) {
          source = Buffer.concat([source, json.subarray(0, Math.min(end, longestTag + 1))])
          start = 0
          end = source.length
        }
      }
      carryOver(json)
    },
    top (most) {
      const best: Array<readonly [string, number]> = []
      for (const entry of counts) {
        if (best.length === most && entry[1] <= (best.at(-1)?.[1] ?? 0)) continue
        const place = best.findIndex(([, number]) => number < entry[1])
        best.splice(place === -1 ? best.length : place, 0, entry)
        if (best.length > most) best.pop()
      }
      return best
    }
  }
}

const nothing = Buffer.alloc(0)

/** A short whole number stays a number, which is quick; any other is text until it ends. */
function withDigit (count: string | number, byte: number): string | number {
  const digit = byte - 0x30
  const isDigit = digit >= 0 && digit <= 9
  if (isDigit && count === '') return digit
  if (isDigit && typeof count === 'number' && count < 1e12) return count * 10 + digit
  const text = String(count)
  // this many digits exceed every real count
  return text.length < longestCount ? text + String.fromCharCode(byte) : '1e99'
}

/** Extracts JSON text from the JSON string that contains it, piece by piece. */
export function createUnescaper (): (text: Buffer) => Buffer {
  /** An incomplete escape at the end of the previous piece. */
  let begun = Buffer.alloc(0)

  return piece => {
    const text = begun.length === 0 ? piece : Buffer.concat([begun, piece])
    begun = Buffer.alloc(0)
    const unescaped = Buffer.alloc(text.length)
    let length = 0
    for (let at = 0; at < text.length; at++) {
      const byte = text[at] ?? 0
      if (byte !== backslash) {
        unescaped[length++] = byte
        continue
      }
      const isUnicode = text[at + 1] === 0x75 // u
      const end = at + (isUnicode ? 6 : 2)
      if (end > text.length) {
        begun = Buffer.from(text.subarray(at))
        break
      }
      const code = isUnicode ? parseInt(text.toString('latin1', at + 2, end), 16) : controls[text[at + 1] ?? 0] ?? text[at + 1] ?? 0
      // non-ASCII characters are within a string of the inner JSON, which has the same escapes
      if (code < 0x80) unescaped[length++] = code
      else length += text.copy(unescaped, length, at, end)
      at = end - 1
    }
    return unescaped.subarray(0, length)
  }
}

/** \b, \f, \n, \r and \t by the byte after the backslash. */
const controls: Readonly<Record<number, number>> = { 0x62: 8, 0x66: 12, 0x6e: 10, 0x72: 13, 0x74: 9 }
