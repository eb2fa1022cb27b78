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
