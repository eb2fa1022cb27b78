const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
/** Strings up to this length are walked; the rest of a longer one is skipped to the next quote. */
const walkedBytes = 64

/** How large and how deep a JSON text may be built. */
export interface JsonBounds {
  readonly depth: number
  /** Brackets and commas together: about as many as there are values. */
  readonly values: number
}

/** Why a text goes beyond its bounds, and where; `position` counts bytes from 0. */
export interface JsonExcess {
  readonly kind: keyof JsonBounds
  readonly position: number
}

/**
 * Looks, before anything is parsed, whether a JSON text stays within its bounds: deep nesting and millions of values
 * hold up the event loop or end in stack overflows. Large strings cost next to nothing. Says nothing about whether the
 * text is JSON.
 */
export function findJsonExcess (text: Uint8Array, bounds: JsonBounds): JsonExcess | null {
  let depth = 0
  let values = 0
  for (let position = 0; position < text.length; position++) {
    const byte = text[position]
    if (byte === quote) {
      position = endOfString(text, position + 1)
      continue
    }
    // [ and { as well as ] and } differ in one bit
    const letter = byte === undefined ? 0 : byte | 0x20
    if (letter === 0x7b) {
      if (++depth > bounds.depth) return { kind: 'depth', position }
    } else if (letter === 0x7d) depth--
    else if (byte !== comma) continue
    if (++values > bounds.values) return { kind: 'values', position }
  }
  return null
}

/** Index of the quote that ends the string which begins here; the text's length when none does. */
function endOfString (text: Uint8Array, start: number): number {
  let position = start
  let walked = 0
  while (position < text.length) {
    if (walked++ < walkedBytes) {
      if (text[position] === quote) return position
      position += text[position] === backslash ? 2 : 1
      continue
    }
    const found = text.indexOf(quote, position)
    if (found === -1) return text.length
    let before = found
    while (before > position && text[before - 1] === backslash) before--
    if ((found - before) % 2 === 0) return found
    position = found + 1
    walked = 0
  }
  return text.length
}
