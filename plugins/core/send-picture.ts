import type { FastifyReply, FastifyRequest } from 'fastify'
import { imageFormats } from '../../src/media/image-header.ts'
import type { PictureContent } from '../../src/models/read-picture.ts'
import { isUnchanged, versionOf } from './conditional-requests.ts'

/** A picture of any kind, as an answer's content. */
export const pictureContent = Object.fromEntries(Object.values(imageFormats).map(({ mime }) =>
  [mime, { schema: { type: 'string', format: 'binary' } }]))

/** Answers of a route that sends a picture. */
export const pictureAnswers = {
  200: { description: 'The picture.', content: pictureContent },
  304: { description: 'The picture is the one that the caller has.', type: 'null' }
}

/** Sends it as a picture only, whatever is in it; nothing where the caller has it already. */
export async function sendPicture (
  request: FastifyRequest, reply: FastifyReply, { mime, bytes, modifiedAt }: PictureContent
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
