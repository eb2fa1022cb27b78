import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { imageFormats } from '../../src/media/image-header.ts'
import type { ImageContent } from '../../src/models/images.ts'

/** The content at an address now. */
export interface ContentVersion {
  /** Strong entity tag, in its quotes. */
  readonly tag: string
  readonly modifiedAt: Date
}

/** First and last byte, both included. */
export interface BytePart {
  readonly start: number
  readonly end: number
}

export function versionOf ({ bytes, modifiedAt }: { bytes: number, modifiedAt: Date }): ContentVersion {
  return { tag: `"${bytes.toString(16)}-${modifiedAt.getTime().toString(16)}"`, modifiedAt }
}

/** Whether the client has this content already (RFC 9110 §13.1.2 and §13.1.3; an entity tag goes before a date). */
export function isUnchanged (headers: IncomingHttpHeaders, version: ContentVersion): boolean {
  const tags = headers['if-none-match']
  return tags === undefined ? isSince(headers['if-modified-since'], version) : hasTag(tags, version.tag)
}

/** Whether If-None-Match names this strong entity tag. */
export function hasTag (ifNoneMatch: string | undefined, tag: string): boolean {
  const known = (ifNoneMatch ?? '').split(',').map(name => name.trim().replace(/^W\//, ''))
  return known.includes('*') || known.includes(tag)
}

/**
 * The part that Range asks for (RFC 9110 §14.2); `whole` if it asks for none, for several at once, or for a part of
 * other content; `outside` if nothing of it exists.
 * @param size of the content in bytes
 */
export function requestedPart (
  headers: IncomingHttpHeaders, size: number, version: ContentVersion
): BytePart | 'whole' | 'outside' {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range ?? '') ?? []
  const condition = headers['if-range']
  const fits = condition === undefined || condition === version.tag || isSince(String(condition), version)
  if ((from === '' && to === '') || !fits) return 'whole'
  const last = size - 1
  const part = from === ''
    ? { start: Math.max(0, size - Number(to)), end: last }
    : { start: Number(from), end: to === '' ? last : Math.min(Number(to), last) }
  if (from !== '' && to !== '' && Number(to) < Number(from)) return 'whole'
  return part.start > last ? 'outside' : part
}

/** HTTP dates have whole seconds. */
function isSince (date: string | undefined, { modifiedAt }: ContentVersion): boolean {
  const timestamp = date === undefined || date.startsWith('"') ? NaN : Date.parse(date)
  return Math.floor(modifiedAt.getTime() / 1000) * 1000 <= timestamp
}

/** An image of any kind, as an answer's content. */
export const imageContent = Object.fromEntries(Object.values(imageFormats).map(({ mime }) =>
  [mime, { schema: { type: 'string', format: 'binary' } }]))

/** Answers of a route that sends an image. */
export const imageAnswers = {
  200: { description: 'The picture.', content: imageContent },
  304: { description: 'The picture is the one that the caller has.', type: 'null' }
}

/** Sends it as an image only, whatever its content; nothing if the client has it already. */
export async function sendImage (
  request: FastifyRequest, reply: FastifyReply, { mime, bytes, modifiedAt }: ImageContent
): Promise<FastifyReply> {
  const version = versionOf({ bytes: bytes.length, modifiedAt })
  reply.headers({
    etag: version.tag,
    'last-modified': modifiedAt.toUTCString(),
    'cache-control': 'private, max-age=60',
    'content-security-policy': "default-src 'none'; sandbox",
    'x-content-type-options': 'nosniff'
  })
  if (isUnchanged(request.headers, version)) return await reply.code(304).send()
  return await reply.type(mime).send(bytes)
}
