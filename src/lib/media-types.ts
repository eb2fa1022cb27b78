/**
 * Media never enters Redis: records and queue data hold references to files of the media store.
 */

/** An input image (init image, mask, ControlNet image) kept in the store, named by its content. */
export interface MediaReference {
  /** `<sha256>.<extension>`; opaque to everyone but the store. */
  readonly $media: string
}

export function isMediaReference (value: unknown): value is MediaReference {
  return typeof value === 'object' && value !== null && typeof (value as MediaReference).$media === 'string'
}

/**
 * An image of a request that went into the store while the request arrived. No JSON makes one, and a copy of one is
 * none, so clients cannot name images of others.
 */
export interface UploadedImage extends MediaReference {
  /** The text with which clients can send the image again. */
  toString (): string
  /** The same: answers and fingerprints of requests have it in place of the image. */
  toJSON (): string
}

const uploadedImages = new WeakSet<object>()

/** @param text the text with which clients can send the image again */
export function uploadedImage ({ $media }: MediaReference, text: string): UploadedImage {
  const image = Object.freeze({ $media, toString: () => text, toJSON: () => text })
  uploadedImages.add(image)
  return image
}

export function isUploadedImage (value: unknown): value is UploadedImage {
  return typeof value === 'object' && value !== null && uploadedImages.has(value)
}

/** Whether it moves, so that one file holds many images. */
export function isMoving (mime: string): boolean {
  return mime.startsWith('video/') || mime === 'image/gif'
}

/** One finished output image. */
export interface StoredImage {
  /** File name under `/outputs/`: `<first 8 of the job id>_<time>_<index>.<extension>`. */
  readonly name: string
  readonly mime: string
  readonly width: number
  readonly height: number
  readonly bytes: number
  readonly sha256: string
  /** `image` for a real result, `grid` for a contact sheet, `extra` for ControlNet maps and masks. */
  readonly role: 'image' | 'grid' | 'extra'
}
