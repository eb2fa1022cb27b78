import { createHmac, timingSafeEqual } from 'node:crypto'
import { commonFields, img2imgFields, namesOf } from '../../schemas/a1111-fields.ts'
import { nearest } from '../a1111/names.ts'
import { ServiceError } from '../lib/errors.ts'
import { parseJson } from '../lib/json.ts'
import { isUploadedImage, type MediaReference, uploadedImage, type UploadedImage } from '../lib/media-types.ts'
import { imageFormats } from './image-header.ts'
import { checkDecodable, checkImageHeader, type ImageLimits, imageTooLarge, storedFormat } from './images.ts'
import { isInputName } from './output-formats.ts'
import type { MediaStore } from './store.ts'

/** Stands for a stored image where clients see it, and can send it again in place of base64. */
export interface UploadTexts {
  textOf (reference: MediaReference): string
  /** The image as a part of a request. */
  imageOf (reference: MediaReference): UploadedImage
  /** Null for a text that this service did not write itself, and an object that it did not make. */
  referenceOf (image: string | MediaReference): MediaReference | null
}

const grammar = /^data:image\/upload,([0-9a-f]{64}\.[a-z]{3,4})\.([\w-]{43})$/

/**
 * A plain reference in a request could be a guess at another client's image, so only references with this service's own
 * mark are valid.
 * Clients get presets with such texts (`KeptImages.show`) and send them again, so the mark must stand in JSON. Between
 * the parser of a request and the record of its job, an image is an `UploadedImage`.
 * @param secret known to every process that serves the same clients
 */
export function createUploadTexts (secret: Buffer): UploadTexts {
  const mark = (name: string) => createHmac('sha256', secret).update(`upload:${name}`).digest()
  const textOf = ({ $media: name }: MediaReference) => `data:image/upload,${name}.${mark(name).toString('base64url')}`
  return {
    textOf,
    imageOf: reference => uploadedImage(reference, textOf(reference)),
    referenceOf (image) {
      if (typeof image !== 'string') return isUploadedImage(image) ? { $media: image.$media } : null
      const [, name = '', given = ''] = image.length < 200 ? grammar.exec(image) ?? [] : []
      if (!isInputName(name)) return null
      return timingSafeEqual(Buffer.from(given, 'base64url'), mark(name)) ? { $media: name } : null
    }
  }
}

/** One part of a multipart request; the content of a file can be read once, in the order of the parts. */
export type FormPart =
  | { readonly type: 'field', readonly fieldname: string, readonly value: unknown, readonly valueTruncated: boolean }
  | {
    readonly type: 'file'
    readonly fieldname: string
    readonly mimetype: string
    readonly file: AsyncIterable<Buffer>
  }

export interface UploadOptions {
  readonly store: MediaStore
  readonly texts: UploadTexts
  readonly limits: ImageLimits & {
    /** All files of one request together, the longest field, and all fields together, in bytes. */
    readonly totalBytes: number
    readonly fieldBytes: number
    readonly fieldsBytes: number
  }
  /** Name of the object that holds images in JSON requests; undefined if they are at the top. */
  readonly imagesIn?: string
  /** Fields that take image files; A1111's own without. */
  readonly files?: FileFields
}

/** An image on its way into the store. */
export interface UploadSink {
  /** @throws ServiceError `payload_too_large`, `storage_full` */
  write (bytes: Buffer): Promise<void>
  /** @throws ServiceError `invalid_image`, `storage_full` */
  end (): Promise<UploadedImage>
  abort (): Promise<void>
}

/** @param field dotted name of the image, for errors */
export async function openUpload (
  field: string, { store, texts, limits }: Pick<UploadOptions, 'store' | 'texts'> & { readonly limits: ImageLimits }
): Promise<UploadSink> {
  let size = 0
  const sink = await store.createInputSink(async draft => {
    const { format } = await checkImageHeader(draft.source, field, limits)
    const converted = await checkDecodable(draft.path, { field, limits, kind: format })
    const { extension } = imageFormats[storedFormat(format)]
    return converted === null ? { extension } : { extension, bytes: converted }
  })
  return {
    async write (bytes) {
      size += bytes.length
      if (size > limits.bytes) throw imageTooLarge(field, limits)
      await sink.write(bytes)
    },
    async end () {
      await sink.end()
      return texts.imageOf(await sink.finished)
    },
    abort: sink.abort
  }
}

type Fields = Record<string, unknown>

/** Fields that take image files, and whether they are lists. */
export type FileFields = Readonly<Record<string, 'one' | 'many'>>

const pictureFields = { ...img2imgFields, ...commonFields }
const imageFields: FileFields = {
  ...Object.fromEntries(namesOf(pictureFields, ({ isImage }) => isImage === true)
    .map(name => [name, pictureFields[name].type === 'array' ? 'many' : 'one'])),
  image: 'one'
}
const jsonType = /^application\/json\b/i

/**
 * The body that a JSON client would have sent. Files go straight into the store, and references replace them; parts of
 * type application/json, and text fields that hold a JSON object, are parsed; other fields stay text. A repeated name
 * makes a list.
 * @throws ServiceError `invalid_field_value`, `invalid_image`, `payload_too_large`, `malformed_request`, `storage_full`
 */
export async function collectMultipart (parts: AsyncIterable<FormPart>, options: UploadOptions): Promise<Fields> {
  const { limits, imagesIn, files: fileFields = imageFields } = options
  const fields = new Map<string, unknown[]>()
  const images = new Map<string, UploadedImage[]>()
  let files = 0
  let total = 0
  let textLength = 0

  async function * counted (file: AsyncIterable<Buffer>, most: number, excess: () => ServiceError) {
    let size = 0
    for await (const chunk of file) {
      size += chunk.length
      total += chunk.length
      if (size > most) throw excess()
      if (total > limits.totalBytes) throw tooMuch(`The request can have at most ${limits.totalBytes} bytes of files.`)
      yield chunk
    }
  }

  async function storeImage (field: string, file: AsyncIterable<Buffer>): Promise<UploadedImage> {
    if (++files > limits.count) throw tooMuch(`One job can have at most ${limits.count} images (IMAGES_PER_JOB).`, field)
    const sink = await openUpload(field, options)
    try {
      for await (const chunk of counted(file, limits.bytes, () => imageTooLarge(field, limits))) await sink.write(chunk)
      return await sink.end()
    } catch (error) {
      await sink.abort()
      throw error
    }
  }

  async function readJson (field: string, file: AsyncIterable<Buffer>): Promise<unknown> {
    const chunks: Buffer[] = []
    const excess = () => tooMuch(`${field} can have at most ${limits.fieldBytes} bytes.`, field)
    for await (const chunk of counted(file, limits.fieldBytes, excess)) chunks.push(chunk)
    return parseJson(field, Buffer.concat(chunks))
  }

  for await (const part of parts) {
    const name = part.fieldname.replace(/\[\]$/, '')
    if (part.type === 'field') {
      if (part.valueTruncated) throw tooMuch(`${name} can have at most ${limits.fieldBytes} bytes as text.`, name)
      textLength += typeof part.value === 'string' ? part.value.length : 0
      if (textLength > limits.fieldsBytes) throw tooMuch(`All text of a form can have at most ${limits.fieldsBytes} bytes.`)
      const wholeObject = name === imagesIn && typeof part.value === 'string'
      append(fields, name, wholeObject ? parseJson(name, Buffer.from(part.value)) : objectOrText(name, part.value))
    } else if (jsonType.test(part.mimetype)) append(fields, name, await readJson(name, part.file))
    else append(images, fileField(name, fileFields), await storeImage(name, part.file))
  }
  const body = Object.fromEntries([...fields].map(([name, values]) => [name, values.length === 1 ? values[0] : values]))
  return withImages(body, images, imagesIn, fileFields)
}

function append<Value> (lists: Map<string, Value[]>, name: string, value: Value): void {
  lists.set(name, [...lists.get(name) ?? [], value])
}

/** An object, if a text is one; a prompt such as `{"red"|"blue"} car` only looks like it and stays text. */
function objectOrText (name: string, value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*\{\s*["}]/.test(value)) return value
  try {
    return parseJson(name, Buffer.from(value))
  } catch {
    return value
  }
}

function fileField (name: string, fileFields: FileFields): string {
  if (Object.hasOwn(fileFields, name)) return name
  const known = Object.keys(fileFields)
  throw new ServiceError('invalid_field_value', `${name} cannot be a file; send files as ${known.join(', ')}.`, {
    field: name, nearest: nearest(name, known, 3)
  })
}

function withImages (
  body: Fields, images: ReadonlyMap<string, readonly UploadedImage[]>, imagesIn: string | undefined,
  fileFields: FileFields
): Fields {
  if (images.size === 0) return body
  if (imagesIn !== undefined) {
    const inner = body[imagesIn] ?? {}
    if (typeof inner !== 'object' || Array.isArray(inner)) {
      throw new ServiceError('invalid_field_value', `${imagesIn} must be a JSON object.`, { field: imagesIn })
    }
    return { ...body, [imagesIn]: withImages({ ...inner }, images, undefined, fileFields) }
  }
  const placed = [...images].map(([name, list]) => {
    if (Object.hasOwn(body, name)) {
      throw new ServiceError('invalid_field_value', `${name} is both a file and a field; send one of them.`, {
        field: name
      })
    }
    if (fileFields[name] === 'many') return [name, list]
    if (list.length > 1) {
      throw new ServiceError('invalid_field_value', `${name} must be one file, not ${list.length}.`, { field: name })
    }
    return [name, list[0]]
  })
  return { ...body, ...Object.fromEntries(placed) as Fields }
}

function tooMuch (sentence: string, field?: string): ServiceError {
  return new ServiceError('payload_too_large', sentence, field === undefined ? {} : { field })
}
