import { dayText } from './format.ts'
import type { GalleryImage } from './api-types.ts'
/** The layout of the gallery: rows of squares under the day of their images. Lengths in pixels. */

const dayHeight = 52
const gap = 8
const smallest = 168
const smallestOnPhone = 108

interface Place {
  readonly top: number
  readonly height: number
}

/** The heading of a day. */
interface DayRow extends Place {
  readonly day: string
  readonly count: number
}

/** The images from one index up to another, exclusive. */
export interface ImageRow extends Place {
  readonly from: number
  readonly to: number
}

export type TileRow = DayRow | ImageRow

export const hasImages = (row: TileRow): row is ImageRow => 'from' in row

export interface Layout {
  readonly columns: number
  readonly side: number
  readonly height: number
  readonly rows: TileRow[]
}

/** @param moment ISO 8601 */
export function dayOf (moment: string) {
  return dayText(Date.parse(moment))
}

/**
 * @param images in the order of the page
 * @param width available width
 * @returns rows are days, or images from one index up to another, exclusive
 */
export function layOut (images: readonly GalleryImage[], width: number): Layout {
  const wanted = width < 600 ? smallestOnPhone : smallest
  const columns = Math.max(1, Math.floor((width + gap) / (wanted + gap)))
  const side = (width - gap * (columns - 1)) / columns
  const rows: TileRow[] = []
  let top = 0
  let from = 0
  while (from < images.length) {
    const day = dayOf(images[from]?.accepted_at ?? '')
    let end = from
    while (end < images.length && dayOf(images[end]?.accepted_at ?? '') === day) end++
    rows.push({ top, height: dayHeight, day, count: end - from })
    top += dayHeight
    for (; from < end; from += columns) {
      rows.push({ top, height: side + gap, from, to: Math.min(end, from + columns) })
      top += side + gap
    }
    from = end
  }
  return { columns, side, height: top, rows }
}

/** The visible rows between two heights, and some beyond. */
export function rowsBetween (rows: readonly TileRow[], above: number, below: number) {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    const { top = 0, height = 0 } = rows[middle] ?? {}
    if (top + height < above) low = middle + 1
    else high = middle
  }
  const end = rows.findIndex(({ top }, index) => index >= low && top >= below)
  return rows.slice(low, end === -1 ? undefined : end)
}
