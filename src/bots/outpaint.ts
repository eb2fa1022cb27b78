import sharp from 'sharp'
import type { Size } from './images.ts'

/** Models and VAEs know no finer steps. */
const step = 8
const least = 64

/** Pixels up to which models draw well at once; a picture that nobody named a size for is made no larger. */
export const defaultPixels = 1216 * 1216

/** The size, made smaller in its own proportions where it has more pixels than allowed, in steps of 8. */
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

/** A picture with room around it, and the mask of what is to be drawn; both as base64. */
export interface WidenedImage extends Size {
  readonly image: string
  readonly mask: string
}

/**
 * Widens a picture by pixels on its four sides. The room is filled with the colours of the edges, from which a model
 * draws on better than from one colour; the mask reaches into the picture by its own blur, so that no seam is left.
 * @param overlap pixels of the picture along a widened side that are drawn anew
 * @param maxPixels picture and room are made smaller together where they have more
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
  const picture = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
    .resize(across.inner, down.inner, { fit: 'fill' })
  // sharp widens before it enlarges, so the steps go through a buffer
  const inner = await picture.png().toBuffer()
  const image = await sharp(inner).extend({ ...sides, extendWith: 'copy' }).png().toBuffer()
  const size = { width: across.inner + across.before + across.after, height: down.inner + down.before + down.after }
  const kept = keptPart(size, sides, overlap)
  const black = await sharp({ create: { width: kept.width, height: kept.height, channels: 3, background: '#000' } })
    .png().toBuffer()
  const mask = await sharp({ create: { ...size, channels: 3, background: '#fff' } })
    .composite([{ input: black, left: kept.left, top: kept.top }]).png().toBuffer()
  return { ...size, image: image.toString('base64'), mask: mask.toString('base64') }
}

/** Lengths along one direction, together a multiple of 8: what is missing is added to the side that is widened more. */
function side (length: number, before: number, after: number, scale: number) {
  const scaled = [before, after].map(room => Math.round(room * scale))
  const [first = 0, last = 0] = scaled
  const alone = Math.max(step, Math.floor(length * scale / step) * step)
  if (first + last === 0) return { before: 0, inner: alone, after: 0 }
  const inner = Math.max(1, Math.round(length * scale))
  const more = (step - (first + inner + last) % step) % step
  return last >= first ? { before: first, inner, after: last + more } : { before: first + more, inner, after: last }
}

/** The part of the widened picture that stays as it is. */
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
