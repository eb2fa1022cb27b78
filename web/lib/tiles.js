/** The layout of the gallery: rows of squares under the day of their images. Lengths in pixels. */

const dayHeight = 52
const gap = 8
const smallest = 168
const smallestOnPhone = 108

const dayText = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' })

/** @param {string} moment ISO 8601 */
export function dayOf (moment) {
  return dayText.format(new Date(moment))
}

/**
 * @param {Array<{ accepted_at: string }>} images in the order of the page
 * @param {number} width available width
 * @returns {{ columns: number, side: number, height: number, rows: Array<{ top: number, height: number, day?: string,
 *   count?: number, from?: number, to?: number }> }} rows are days, or images from one index up to another, exclusive
 */
export function layOut (images, width) {
  const wanted = width < 600 ? smallestOnPhone : smallest
  const columns = Math.max(1, Math.floor((width + gap) / (wanted + gap)))
  const side = (width - gap * (columns - 1)) / columns
  const rows = []
  let top = 0
  let from = 0
  while (from < images.length) {
    const day = dayOf(images[from].accepted_at)
    let end = from
    while (end < images.length && dayOf(images[end].accepted_at) === day) end++
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
export function rowsBetween (rows, above, below) {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (rows[middle].top + rows[middle].height < above) low = middle + 1
    else high = middle
  }
  const found = []
  for (let index = low; index < rows.length && rows[index].top < below; index++) found.push(rows[index])
  return found
}
