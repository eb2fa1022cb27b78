import { dirname } from 'node:path'
import { ServiceError } from '../errors.ts'
import { imageFormatOf, imageFormats } from '../media/image-header.ts'
import { openInside } from './folders.ts'
import type { ModelFile } from './model.ts'

export interface PictureContent {
  /** By content, whatever the name says. */
  readonly mime: string
  readonly bytes: Buffer
  readonly modifiedAt: Date
}

/** Nobody shows larger previews, in bytes. */
export const longestPicture = 32 * 1024 * 1024

/**
 * A preview beside a model.
 * @throws ServiceError `image_not_found`, also for what is no picture, whatever its name
 */
export async function readPicture (model: ModelFile, name: string): Promise<PictureContent> {
  const file = await openInside(model.root, dirname(model.absolutePath), name)
  if (file === null) throw noPicture()
  try {
    const { size, mtime } = await file.stat()
    if (size > longestPicture) throw noPicture()
    return pictureOf(await file.readFile(), mtime)
  } finally {
    await file.close()
  }
}

/** @throws ServiceError `image_not_found` unless the bytes begin as PNG, JPEG or WebP do */
export function pictureOf (bytes: Buffer, modifiedAt: Date): PictureContent {
  const format = imageFormatOf(bytes.subarray(0, 16))
  if (format === null) throw noPicture()
  return { mime: imageFormats[format].mime, bytes, modifiedAt }
}

export function noPicture (): ServiceError {
  return new ServiceError('image_not_found', 'The model has no such picture.')
}
