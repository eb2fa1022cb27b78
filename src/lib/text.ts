/**
 * Replaces patterns whose time grows with the square of a text: at each character of a long run, `/x+$/` searches the
 * rest of the run again.
 */

/** The text without any of these signs at its end. */
export function withoutTrailing (text: string, signs: string): string {
  let end = text.length
  while (end > 0 && signs.includes(text.charAt(end - 1))) end--
  return text.slice(0, end)
}

/** The text without any of these signs at its beginning. */
export function withoutLeading (text: string, signs: string): string {
  let start = 0
  while (start < text.length && signs.includes(text.charAt(start))) start++
  return text.slice(start)
}

/** The text without the tags of HTML; a `<` that no tag begins with stays. */
export function withoutTags (html: string, inPlace: string): string {
  return html.replace(/<[^<>]*>/g, inPlace)
}

/** Accents of Latin, Greek and Cyrillic letters; marks of other scripts make other letters. */
const accents = /[\u0300-\u036f]/g

/**
 * A text in lower case, in one spelling of characters that Unicode and keyboards write in several: composed, wide,
 * accented.
 */
export function foldedText (text: string): string {
  return /^[\x20-\x7e]*$/.test(text)
    ? text.toLowerCase()
    : text.normalize('NFKD').replace(accents, '').normalize('NFKC').toLowerCase()
}

/** A time in milliseconds since the epoch as the interface shows it; null if there is none. */
export function iso (timestamp: number): string
export function iso (timestamp: number | null | undefined): string | null
export function iso (timestamp: number | null | undefined): string | null {
  return timestamp == null ? null : new Date(timestamp).toISOString()
}
