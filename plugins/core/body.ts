import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { getHeapStatistics } from 'node:v8'
import multipart from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { longestTrimmed } from '../../src/a1111/json-stream-filter.ts'
import type { Config } from '../../src/config/settings.ts'
import { bounded, readWhole } from '../../src/lib/chunks.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { parseJson, type PartedJson } from '../../src/lib/json.ts'
import { bodyLimitMib, imageLimits } from '../../src/media/images.ts'
import { siftJson, textTooLarge } from '../../src/media/json-uploads.ts'
import type { StorageCheck } from '../../src/media/storage.ts'
import { storageError } from '../../src/media/storage-fault.ts'
import type { MediaStore } from '../../src/media/store.ts'
import { collectMultipart, type FileFields, type UploadTexts } from '../../src/media/uploads.ts'
import { bodyTooLarge, piecesOf } from './body-intake.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * The route also takes multipart/form-data; `imagesIn` names the object that holds images in JSON requests, `files`
     * the fields that take them.
     */
    multipart?: { readonly imagesIn?: string, readonly files?: FileFields }
    /**
     * Large images are extracted from JSON bodies while they arrive, and the route finds the reference of an upload
     * instead; so it is on all routes that take forms.
     */
    storesImages?: true
  }
  interface FastifyRequest {
    /** The JSON text of the body; empty for no body. @throws ServiceError as `BodyIntake.chunks`, `invalid_image` */
    readJsonText (payload: Readable): Promise<PartedJson>
  }
}

export interface BodyOptions {
  readonly config: Pick<
    Config, 'BODY_LIMIT_MIB' | 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS' | 'IMAGES_PER_JOB'
  >
  readonly store: MediaStore
  /** Files are refused while they cannot be stored. */
  readonly storage?: Pick<StorageCheck, 'fault'>
  readonly texts: UploadTexts
}

/** Longest text field or JSON part of a form; images come as files there. */
const fieldBytes = 1_048_576
/** JSON beside its images. */
const maxText = 64 * fieldBytes
/** All text of a form together. */
const fieldsBytes = 8 * fieldBytes
const maxFields = 200
const maxFieldNameBytes = 200

/**
 * Reads request bodies: JSON within limits, and multipart forms on the routes that accept them. Either way a route
 * finds the same object in `request.body`.
 */
export default fp<BodyOptions>(async (app, { config, store, storage, texts }) => {
  const bodyLimit = bodyLimitMib(config) * 1_048_576
  const limits = { ...imageLimits(config), totalBytes: bodyLimit, fieldBytes, fieldsBytes }
  // A text needs several times its size while it is read: itself, its value and copies, two bytes a character. Those of
  // all admitted bodies must fit.
  const keptBytes = Math.min(bodyLimit, maxText, getHeapStatistics().heap_size_limit / 32)

  async function refuseWhileFull (): Promise<void> {
    const fault = await storage?.fault() ?? null
    if (fault !== null) throw storageError(fault)
  }

  app.decorateRequest('readJsonText', async function (this: FastifyRequest, payload: Readable): Promise<PartedJson> {
    const { multipart, storesImages } = this.routeOptions.config
    if (multipart !== undefined || storesImages === true) await refuseWhileFull()
    const isShortBody = isShort(this.headers)
    const arrived = isShortBody ? this.intake?.arrived(payload) ?? null : null
    if (arrived !== null) return jsonOf(arrived)
    const chunks = bounded(this.intake?.chunks(payload) ?? piecesOf(payload), bodyLimit, () => bodyTooLarge(bodyLimit))
    const hasImages = (multipart !== undefined || storesImages === true) && !isShortBody
    const text = hasImages
      ? await siftJson(chunks, { store, texts, limits, keptBytes })
      : await wholeText(chunks, keptBytes)
    this.intake?.settle(text.bytes.length)
    return text
  })

  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Readable) => {
    const text = await request.readJsonText(payload)
    // Clients announce JSON on calls that need no body.
    return text.bytes.length === 0 ? undefined : parseJson('The body', text)
  })

  await app.register(multipart, {
    throwFileSizeLimit: false, // files are counted as they are read, which gives an error that names the field
    // A JSON part is read like a file, so that it has the same limits as a JSON body.
    isPartAFile: (_name, type, filename) => filename !== undefined || /^application\//i.test(type ?? ''),
    limits: {
      fieldNameSize: maxFieldNameBytes,
      fieldSize: fieldBytes,
      fields: maxFields,
      fileSize: limits.bytes + 1,
      files: limits.count + maxFields,
      parts: limits.count + 2 * maxFields,
      headerPairs: 50
    }
  })

  app.addHook('preValidation', (request, _reply, done) => {
    // Such a route has a schema for each content type, and none for a request without any.
    if (request.routeOptions.config.multipart !== undefined && request.mediaType === undefined) {
      throw new ServiceError('malformed_request', 'The request needs a body, as application/json or multipart/form-data.')
    }
    if (request.isMultipart()) readForm(request).then(() => { done() }, done)
    else done()
  })

  async function readForm (request: FastifyRequest): Promise<void> {
    const form = request.routeOptions.config.multipart
    if (form === undefined) {
      throw new ServiceError('unsupported_media_type', 'This route accepts application/json, not multipart/form-data.')
    }
    try {
      await refuseWhileFull()
      const parts = request.parts()
      request.body = await collectMultipart(request.intake?.parts(parts) ?? parts, { store, texts, limits, ...form })
      request.intake?.settle(fieldsBytes)
    } catch (error) {
      // Further bytes of the client are discarded, so that it can read the answer.
      request.raw.unpipe()
      request.raw.resume()
      throw unreadable(error)
    }
  }
}, { name: 'body' })

/** Whether no string in the body can be so long that it is stored instead of kept. */
function isShort (headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? NaN) <= longestTrimmed
}

async function wholeText (chunks: AsyncIterable<Buffer>, most: number): Promise<PartedJson> {
  return jsonOf(await readWhole(chunks, most, () => textTooLarge(most)))
}

const noParts: PartedJson['parts'] = new Map()

function jsonOf (bytes: Buffer): PartedJson {
  return { bytes, whole: () => bytes.toString('utf8'), broken: false, parts: noParts }
}

/** The parser of forms throws plain errors for a body that is no form. */
function unreadable (error: unknown): unknown {
  const isParsers = error instanceof Error && error.name === 'Error' && !('code' in error) &&
    /multipart|boundary|unexpected end/i.test(error.message)
  return isParsers
    ? new ServiceError('malformed_request', `The form cannot be read: ${error.message}.`, {}, { cause: error })
    : error
}
