/**
 * What patterns do in time that grows with the square of a text: at each sign of a long run, `/x+$/` looks through the
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
