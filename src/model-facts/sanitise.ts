import { createRequire } from 'node:module'
import type sanitize from 'sanitize-html'

/** Loaded with the first description, so that it does not slow the start of a process. */
const load = createRequire(import.meta.url)
let sanitizeHtml: typeof sanitize | undefined

/** The most letters of a description. */
const longest = 20_000

/**
 * Reduces third-party HTML to text, lists, emphasis and links. This happens once, on arrival, so that every display of
 * it is safe.
 */
export function sanitiseHtml (html: string): string {
  sanitizeHtml ??= load('sanitize-html') as typeof sanitize
  return sanitizeHtml(html.slice(0, 5 * longest), {
    allowedTags: ['p', 'br', 'ul', 'ol', 'li', 'b', 'i', 'strong', 'em', 'code', 'pre', 'h3', 'h4', 'h5', 'a'],
    allowedAttributes: { a: ['href', 'rel'] },
    allowedSchemes: ['https'],
    allowProtocolRelative: false,
    transformTags: {
      h1: 'h3',
      h2: 'h3',
      a: sanitizeHtml.simpleTransform('a', { rel: 'noopener noreferrer nofollow' })
    }
  }).slice(0, longest).trim()
}

/** The most letters of a name, tag or trigger word. */
const longestWord = 1000
/** Tags of HTML, and not those of prompts such as `<lora:name:1>`. */
const htmlTag = /<\/?[a-z][a-z0-9]*(?:\s[^<>]*)?\/?>/gi
/** Invisible characters, and those that change the direction of the following text. */
const unseen = /[\p{Cc}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

/** A third-party name, tag or trigger word as plain text on one line; null if nothing is left. */
export function plainWord (value: unknown): string | null {
  if (typeof value !== 'string') return null
  return value.slice(0, longestWord).replace(htmlTag, '').replace(unseen, ' ').replace(/ {2,}/g, ' ').trim() || null
}
