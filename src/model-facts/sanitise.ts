import { createRequire } from 'node:module'
import type sanitize from 'sanitize-html'

/** Loaded with the first description: no process starts more slowly for it. */
const load = createRequire(import.meta.url)
let sanitizeHtml: typeof sanitize | undefined

/** Letters that a description keeps. */
const longest = 20_000

/**
 * HTML of strangers with nothing left but text, lists, emphasis and links. Done once, when it comes in, so that whoever
 * shows it later has nothing to fear.
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

/** Letters that a name, tag or trigger word keeps. */
const longestWord = 1000
/** Tags of HTML, and not those of prompts such as `<lora:name:1>`. */
const htmlTag = /<\/?[a-z][a-z0-9]*(?:\s[^<>]*)?\/?>/gi
/** Signs that are not seen, and those that turn the direction of what follows. */
const unseen = /[\p{Cc}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

/** A name, tag or trigger word of strangers as plain text of one line; null where nothing is left. */
export function plainWord (value: unknown): string | null {
  if (typeof value !== 'string') return null
  return value.slice(0, longestWord).replace(htmlTag, '').replace(unseen, ' ').replace(/ {2,}/g, ' ').trim() || null
}
