/** Values as text. */

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' })
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

const units: ReadonlyArray<readonly ['day' | 'hour' | 'minute', number]> = [['day', 86_400], ['hour', 3600], ['minute', 60]]

/** `3 min. ago`; @param moment ISO 8601 */
export function ago (moment: string | null) {
  if (moment === null) return 'never'
  const seconds = (Date.parse(moment) - Date.now()) / 1000
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit)
  }
  return Math.abs(seconds) < 5 ? 'just now' : relative.format(Math.round(seconds), 'second')
}

/** Date and time in the browser's time zone. */
export function momentText (moment: string | null) {
  return moment === null ? '–' : absolute.format(new Date(moment))
}

/** The duration between two times; until now if the second is null. */
export function duration (begin: string, end: string | null) {
  const seconds = Math.max(0, ((end === null ? Date.now() : Date.parse(end)) - Date.parse(begin)) / 1000)
  return secondsText(seconds)
}

export function secondsText (seconds: number) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export function bytesText (bytes: number) {
  return bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

const grouped = new Intl.NumberFormat('en')

/** `2,100` */
export function numberText (count: number) {
  return grouped.format(count)
}

/** In pixels; empty if the size is unknown, as for some videos. */
export function sizeText ({ width, height }: { width: number, height: number }) {
  return width > 0 && height > 0 ? `${width} × ${height}` : ''
}

export function plural (count: number, word: string, many = `${word}s`) {
  return `${count} ${count === 1 ? word : many}`
}
