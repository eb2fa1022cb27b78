import sharp from '../lib/sharp.ts'
import type { Size } from './images.ts'

/** Models and VAEs need multiples of this. */
const step = 8
const least = 64

/** Pixels up to which models work well in one pass; an image without a requested size gets no larger. */
export const defaultPixels = 1216 * 1216

/** The size, reduced in its own proportions if it has more pixels than allowed, in steps of 8. */
export function fitted ({ width, height }: Size, maxPixels: number): Size {
  const scale = Math.min(1, Math.sqrt(maxPixels / (width * height)))
  return { width: inSteps(width * scale), height: inSteps(height * scale) }
}

function inSteps (pixels: number): number {
  return Math.max(least, Math.floor(pixels / step) * step)
}

export interface Sides {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

/** An image with a margin around it, and the mask of the part to generate; both as base64. */
export interface WidenedImage extends Size {
  readonly image: string
  readonly mask: string
}

/**
 * Widens an image by pixels on its four sides. The margin has the colours of the edges, which a model continues better
 * than one colour. The mask reaches into the image by its own blur, so that no seam is left.
 * @param overlap pixels of the image along a widened side that are generated again
 * @param maxPixels image and margin are reduced together if they have more
 */
export async function widened (
  bytes: Buffer, asked: Sides, overlap: number, maxPixels: number
): Promise<WidenedImage> {
  const upright = sharp(bytes).autoOrient().flatten({ background: '#fff' }).toColourspace('srgb')
  const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true })
  const whole = { width: info.width + asked.left + asked.right, height: info.height + asked.top + asked.bottom }
  const scale = Math.min(1, fitted(whole, maxPixels).width / whole.width)
  const across = side(info.width, asked.left, asked.right, scale)
  const down = side(info.height, asked.top, asked.bottom, scale)
  const sides = { left: across.before, right: across.after, top: down.before, bottom: down.after }
  const extended = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
    .resize(across.inner, down.inner, { fit: 'fill' })
  // sharp widens before it resizes, so the steps go through a buffer
  const inner = await extended.png().toBuffer()
  const image = await sharp(inner).extend({ ...sides, extendWith: 'copy' }).png().toBuffer()
  const size = { width: across.inner + across.before + across.after, height: down.inner + down.before + down.after }
  const kept = keptPart(size, sides, overlap)
  const black = await sharp({ create: { width: kept.width, height: kept.height, channels: 3, background: '#000' } })
    .png().toBuffer()
  const mask = await sharp({ create: { ...size, channels: 3, background: '#fff' } })
    .composite([{ input: black, left: kept.left, top: kept.top }]).png().toBuffer()
  return { ...size, image: image.toString('base64'), mask: mask.toString('base64') }
}

/** Lengths along one direction, together a multiple of 8: the side that is widened more gets the rest. */
function side (length: number, before: number, after: number, scale: number) {
  const scaled = [before, after].map(room => Math.round(room * scale))
  const [first = 0, last = 0] = scaled
  const alone = Math.max(step, Math.floor(length * scale / step) * step)
  if (first + last === 0) return { before: 0, inner: alone, after: 0 }
  const inner = Math.max(1, Math.round(length * scale))
  const more = (step - (first + inner + last) % step) % step
  return last >= first ? { before: first, inner, after: last + more } : { before: first + more, inner, after: last }
}

/** The part of the widened image that stays unchanged. */
function keptPart ({ width, height }: Size, { left, right, top, bottom }: Sides, overlap: number) {
  const inward = (room: number) => room === 0 ? 0 : room + overlap
  const [x, y] = [Math.min(inward(left), width - 1), Math.min(inward(top), height - 1)]
  return {
    left: x,
    top: y,
    width: Math.max(1, width - x - inward(right)),
    height: Math.max(1, height - y - inward(bottom))
  }
}
