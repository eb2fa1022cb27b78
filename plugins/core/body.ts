import multipart from '@fastify/multipart'
import fp from 'fastify-plugin'
import type { Config } from '../../src/config/settings.ts'
import { ServiceError } from '../../src/errors.ts'
import { parseJson } from '../../src/json/parse.ts'
import { imageLimits } from '../../src/media/images.ts'
import type { MediaStore } from '../../src/media/store.ts'
import type { UploadTexts } from '../../src/media/upload-text.ts'
import { collectMultipart, type FileFields } from '../../src/media/uploads.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * The route also takes multipart/form-data; `imagesIn` names the object that JSON clients put images in, `files`
     * the fields that take them.
     */
    multipart?: { readonly imagesIn?: string, readonly files?: FileFields }
  }
}

export interface BodyOptions {
  readonly config: Pick<
    Config, 'BODY_LIMIT_MIB' | 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS' | 'IMAGES_PER_JOB'
  >
  readonly store: MediaStore
  readonly texts: UploadTexts
}

/** Longest text field or JSON part of a form; images come as files there. */
const fieldBytes = 1_048_576
const mostFields = 200
const mostFieldNameBytes = 200

/**
 * Reads request bodies: JSON within bounds, and multipart forms on the routes that say so. Either way a route finds
 * the same object in `request.body`.
 */
export default fp<BodyOptions>(async (app, { config, store, texts }) => {
  const limits = { ...imageLimits(config), totalBytes: config.BODY_LIMIT_MIB * 1_048_576, fieldBytes }

  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) =>
    // Clients announce JSON on calls that need no body.
    body.length === 0 ? undefined : parseJson('The body', body))

  await app.register(multipart, {
    throwFileSizeLimit: false, // files are counted as they are read, which gives an error that names the field
    // A JSON part is read like a file, so that it passes the same bounds as a JSON body.
    isPartAFile: (_name, type, filename) => filename !== undefined || /^application\//i.test(type ?? ''),
    limits: {
      fieldNameSize: mostFieldNameBytes,
      fieldSize: fieldBytes,
      fields: mostFields,
      fileSize: limits.bytes + 1,
      files: limits.count + mostFields,
      parts: limits.count + 2 * mostFields,
      headerPairs: 50
    }
  })

  app.addHook('preValidation', async request => {
    const form = request.routeOptions.config.multipart
    // Such a route has a schema for each content type, and none for a request without any.
    if (form !== undefined && request.mediaType === undefined) {
      throw new ServiceError('malformed_request', 'The request needs a body, as application/json or multipart/form-data.')
    }
    if (!request.isMultipart()) return
    if (form === undefined) {
      throw new ServiceError('unsupported_media_type', 'This route takes application/json and no multipart/form-data.')
    }
    try {
      request.body = await collectMultipart(request.parts(), { store, texts, limits, ...form })
    } catch (error) {
      // What the client is still sending goes nowhere, so that it can read the answer.
      request.raw.unpipe()
      request.raw.resume()
      throw unreadable(error)
    }
  })
}, { name: 'body' })

/** The parser of forms throws plain errors for what is no form. */
function unreadable (error: unknown): unknown {
  const isParsers = error instanceof Error && error.name === 'Error' && !('code' in error) &&
    /multipart|boundary|unexpected end/i.test(error.message)
  return isParsers
    ? new ServiceError('malformed_request', `The form cannot be read: ${error.message}.`, {}, { cause: error })
    : error
}
