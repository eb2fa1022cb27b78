import { common } from '../texts/en/common.ts'
import { forms } from '../texts/language.ts'

/** Values as text. */

const units: ReadonlyArray<readonly ['day' | 'hour' | 'minute', number]> = [['day', 86_400], ['hour', 3600], ['minute', 60]]

/** `3 min. ago`; @param moment ISO 8601 */
export function ago (moment: string | null) {
  if (moment === null) return common.never
  const seconds = (Date.parse(moment) - Date.now()) / 1000
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return forms.relative(Math.round(seconds / length), unit)
  }
  return Math.abs(seconds) < 5 ? common.justNow : forms.relative(Math.round(seconds), 'second')
}

/** Date and time in the browser's time zone. */
export function momentText (moment: string | null) {
  return moment === null ? '–' : forms.moment(new Date(moment), { dateStyle: 'medium', timeStyle: 'medium' })
}

/** The time of the day, in the browser's time zone. */
export function timeText (moment: number) {
  return forms.moment(new Date(moment), { timeStyle: 'short' })
}

/** The day with its name, in the browser's time zone. */
export function dayText (moment: number) {
  return forms.moment(new Date(moment), { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' })
}

/** The duration between two times; until now if the second is null. */
export function duration (begin: string, end: string | null) {
  const seconds = Math.max(0, ((end === null ? Date.now() : Date.parse(end)) - Date.parse(begin)) / 1000)
  return secondsText(seconds)
}

export function secondsText (seconds: number) {
  if (seconds < 10) return common.seconds(forms.decimal(seconds))
  if (seconds < 60) return common.seconds(forms.number(Math.round(seconds)))
  const minutes = Math.floor(seconds / 60)
  return minutes < 60
    ? common.minutesAndSeconds({ minutes, seconds: Math.round(seconds % 60) })
    : common.hoursAndMinutes({ hours: Math.floor(minutes / 60), minutes: minutes % 60 })
}

export function bytesText (bytes: number) {
  return bytes < 1024 * 1024 ? common.kibibytes(Math.ceil(bytes / 1024)) : common.mebibytes(bytes / 1024 / 1024)
}

/** `2,100` */
export function numberText (count: number) {
  return forms.number(count)
}

/** In pixels; empty if the size is unknown, as for some videos. */
export function sizeText ({ width, height }: { width: number, height: number }) {
  return width > 0 && height > 0 ? `${width} × ${height}` : ''
}
