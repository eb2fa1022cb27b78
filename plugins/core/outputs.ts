import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ErrorBody, errorResponses } from '../../schemas/error.ts'
import { Ref, StringEnum } from '../../schemas/kit.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { isOutputName, outputFormats } from '../../src/media/output-formats.ts'
import { formAsked, type FormFormat, type OutputForm } from '../../src/media/encode-form.ts'
import type { MediaStore, OpenOutput } from '../../src/media/store.ts'
import type { ImageUrls } from '../../src/webhooks/event-body.ts'
import { emptyAnswer, emptyIfMissing, missingParameter } from './empty-if-missing.ts'
import { methodOf } from './request-log.ts'
import { isUnchanged, requestedPart, versionOf } from './send-image.ts'

export interface OutputsOptions {
  readonly store: Pick<MediaStore, 'openOutput' | 'openThumbnail' | 'openForm'>
  /** Knows the links in events. */
  readonly links: Pick<ImageUrls, 'fits'>
  /** Whether this client can see the image; a key sees those of its own jobs. */
  readonly mayRead: (request: FastifyRequest, name: string) => Promise<boolean>
}

const picture = {
  content: Object.fromEntries(Object.values(outputFormats).map(({ mime }) =>
    [mime, { schema: { type: 'string', format: 'binary' } }]))
}

/** The result images of jobs. Names are never reused, so a client can cache an image for ever. */
const outputs: FastifyPluginAsyncTypebox<OutputsOptions> = async (app, { store, links, mayRead }) => {
  const hasLink = ({ params, query }: FastifyRequest) =>
    links.fits((params as { name: string }).name, query as Record<string, unknown>)

  app.get('/outputs/:name', {
    config: { access: { scope: 'images:read', bucket: 'status', unless: hasLink } },
    schema: {
      operationId: 'images.get',
      tags: ['Images'],
      summary: 'Get a result image',
      description: 'The bytes of an image as the server generated it. Accepts Range, If-Range, If-None-Match and ' +
        'If-Modified-Since; HEAD returns the same headers without the bytes. Links in webhook events work without a key ' +
        'until they expire. `format` converts it and keeps its generation parameters inside; so does an Accept header ' +
        'that names one image type and nothing else.',
      params: Type.Object({
        name: Type.String({
          description: 'Name out of the job\'s result.', examples: ['1f0c2a9e_2026-11-21T09-30-00-000Z_0.png']
        })
      }),
      querystring: Type.Object({
        format: Type.Optional(StringEnum(['png', 'jpeg', 'jpg', 'webp', 'avif'], {
          description: 'Format of the answer; without it, the one in which the server generated the image.', examples: ['webp']
        })),
        quality: Type.Optional(Type.Integer({
          minimum: 1,
          maximum: 100,
          description: 'With format jpeg, webp or avif: 1 to 100, in steps of 5. Usually 85, 80 and 50.',
          examples: [80]
        })),
        exp: Type.Optional(Type.String({ maxLength: 12, description: 'Of links in events: when they expire, in seconds since 1970.' })),
        sig: Type.Optional(Type.String({ maxLength: 64, description: 'Of links in events: their signature.' }))
      }),
      response: {
        200: { description: 'The image.', ...picture },
        206: { description: 'The part of the image in Range.', ...picture },
        304: { description: 'The image is the one that the caller has.', type: 'null' },
        307: { description: 'With MEDIA_REDIRECT: Location has a link to the image in the bucket, valid for some minutes.', type: 'null' },
        416: { ...Ref(ErrorBody), description: 'The part in Range does not exist.' },
        ...errorResponses(400, 403, 404, 422)
      }
    }
  }, async (request, reply) => {
    const { name } = request.params
    if (!hasLink(request) && !await mayRead(request, name)) throw new ServiceError('image_not_found', 'There is no image of this name.')
    const form = formOf(request.query, request.headers.accept)
    reply.header('vary', 'accept')
    const image = form === null ? await store.openOutput(name) : await store.openForm(name, form)
    return await sendOutput(request, reply, namedAs(name, image.mime), image)
  })

  app.get('/outputs/thumbs/:name', {
    config: { access: { scope: 'images:read', bucket: 'status' } },
    errorHandler: emptyIfMissing,
    schema: {
      operationId: 'images.getThumbnail',
      tags: ['Images'],
      summary: 'Get a small picture of a result image',
      description: 'A WebP of at most 320 by 320 pixels, created at the first request and then kept.',
      params: Type.Object({
        name: Type.String({
          description: 'Name of the image.', examples: ['1f0c2a9e_2026-11-21T09-30-00-000Z_0.png']
        })
      }),
      querystring: Type.Object(missingParameter),
      response: {
        200: { description: 'The small picture.', content: { 'image/webp': { schema: { type: 'string', format: 'binary' } } } },
        ...emptyAnswer,
        206: { description: 'The part in Range.', content: { 'image/webp': { schema: { type: 'string', format: 'binary' } } } },
        304: { description: 'It is the one that the caller has.', type: 'null' },
        307: { description: 'With MEDIA_REDIRECT: Location has a link to it in the bucket, valid for some minutes.', type: 'null' },
        416: { ...Ref(ErrorBody), description: 'The part in Range does not exist.' },
        ...errorResponses(403, 404, 422)
      }
    }
  }, async (request, reply) => {
    const { name } = request.params
    // No thumbnail is generated for clients that cannot see it.
    if (!isOutputName(name) || !await mayRead(request, name)) throw new ServiceError('image_not_found', 'There is no image of this name.')
    return await sendOutput(request, reply, `${name}.webp`, await store.openThumbnail(name))
  })
}

export default outputs

/** Sends the requested part of an image, and closes it. */
export async function sendOutput (
  request: FastifyRequest, reply: FastifyReply, name: string, image: OpenOutput
): Promise<FastifyReply> {
  try {
    const answer = answerTo(request, image)
    if (answer === 'outside') {
      reply.header('content-range', `bytes */${image.bytes}`)
      throw new ServiceError('range_not_satisfiable', `The image has ${image.bytes} bytes; Range must begin before its end.`)
    }
    const link = answer.part === null || !followsLinks(request) ? undefined : image.link?.(dispositionOf(name))
    if (link !== undefined) {
      await image.close()
      return await reply.code(307).headers({
        location: link.url, 'cache-control': `private, max-age=${link.seconds}`, vary: varying(reply, 'sec-fetch-mode')
      }).send()
    }
    const stream = answer.part === null ? null : await image.stream(answer.part)
    reply.code(answer.code).headers({ ...headersOf(reply, name, image), ...answer.headers })
    if (stream !== null) return await reply.send(stream)
  } catch (error) {
    await image.close()
    throw error
  }
  await image.close()
  // Fastify takes the length of a HEAD answer from its payload, but not from a stream.
  return await reply.send(methodOf(request) === 'HEAD' ? Readable.from([]) : undefined)
}

/** An Accept header with one image type alone, such as `image/webp`; lists and wildcards leave the choice to us. */
const onlyType = /^\s*image\/(png|jpeg|webp|avif)\s*(?:;\s*q=(?:1(?:\.0*)?|0?\.0*[1-9]\d*)\s*)?$/i

/**
 * The form in which the client asks for the image; null for the image as it is.
 * @throws ServiceError `invalid_field_value`
 */
function formOf (
  { format, quality }: { readonly format?: FormFormat | 'jpg', readonly quality?: number }, accept: string | undefined
): OutputForm | null {
  const asked = formAsked(format, quality, ['format', 'quality'])
  if (asked !== null) return asked
  const [, only] = onlyType.exec(accept ?? '') ?? []
  return only === undefined ? null : { format: only.toLowerCase() as FormFormat }
}

/** Scripts of web pages follow no redirect to a bucket that does not allow their origin. */
function followsLinks ({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-site'] === undefined || headers['sec-fetch-mode'] !== 'cors'
}

/** The name that fits the content, if the image was converted. */
function namedAs (name: string, mime: string): string {
  const { extension } = Object.values(outputFormats).find(format => format.mime === mime) ?? {}
  return extension === undefined || name.endsWith(`.${extension}`) ? name : `${name.slice(0, name.lastIndexOf('.'))}.${extension}`
}

function varying (reply: FastifyReply, header: string): string {
  return [reply.getHeader('vary'), header].filter(part => part !== undefined).join(', ')
}

function dispositionOf (name: string): string {
  return `inline; filename="${name}"`
}

interface Answer {
  readonly code: 200 | 206 | 304
  readonly headers: Readonly<Record<string, string | number>>
  /** The body; null for headers alone. */
  readonly part: { start: number, end: number } | null
}

/** The answer to a request for an image; `outside` if nothing of the requested part exists. */
function answerTo (request: FastifyRequest, image: OpenOutput): Answer | 'outside' {
  const { headers } = request
  const version = versionOf(image)
  if (isUnchanged(headers, version)) return { code: 304, headers: {}, part: null }
  const full = { 'content-type': image.mime, 'content-length': image.bytes }
  if (methodOf(request) === 'HEAD') return { code: 200, headers: full, part: null }
  const part = requestedPart(headers, image.bytes, version)
  if (part === 'whole') return { code: 200, headers: full, part: { start: 0, end: image.bytes - 1 } }
  if (part === 'outside') return part
  return {
    code: 206,
    headers: {
      ...full,
      'content-length': part.end - part.start + 1,
      'content-range': `bytes ${part.start}-${part.end}/${image.bytes}`
    },
    part
  }
}

/** An image can be shown, but its content must not act in our name. */
function headersOf (reply: FastifyReply, name: string, image: OpenOutput): Record<string, string> {
  const { tag, modifiedAt } = versionOf(image)
  return {
    etag: tag,
    'last-modified': modifiedAt.toUTCString(),
    'accept-ranges': 'bytes',
    'cache-control': 'private, max-age=31536000, immutable',
    'x-content-type-options': 'nosniff',
    // a browser that opens a video alone plays it in a page of its own
    'content-security-policy': `default-src 'none'; ${image.mime.startsWith('video/') ? 'media-src \'self\'; ' : ''}sandbox`,
    'cross-origin-resource-policy': 'same-site',
    'content-disposition': dispositionOf(name),
    ...(image.link === undefined ? {} : { vary: varying(reply, 'sec-fetch-mode') })
  }
}
