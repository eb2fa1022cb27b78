import { stringifyJson } from '../lib/exact-json.ts'

/** Where a command writes. */
export interface Output {
  /** Results, for people or programs. */
  readonly out: (text: string) => void
  /** What happens meanwhile, and errors. */
  readonly note: (text: string) => void
  /** Characters of a line of a terminal; null if no person watches `note`. */
  readonly width: number | null
  /** Asks a person; false if none is there. */
  confirm (question: string): Promise<boolean>
}

export function printJson (output: Output, value: unknown): void {
  output.out(`${stringifyJson(value)}\n`)
}

/** Rows under their titles, in columns; the last column is cut at the width of the terminal. */
export function tableOf (
  titles: readonly string[], rows: ReadonlyArray<readonly string[]>, width: number | null
): string {
  const all = [titles, ...rows.map(row => row.map(cell => cell.replace(/\s+/g, ' ').trim()))]
  const widths = titles.map((_, column) => Math.max(...all.map(row => row[column]?.length ?? 0)))
  return all.map(row => {
    const line = row.map((cell, column) => column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)).join('  ')
    return `${cut(line.trimEnd(), width)}\n`
  }).join('')
}

function cut (line: string, width: number | null): string {
  return width === null || line.length <= width ? line : `${line.slice(0, Math.max(1, width - 1))}…`
}

/** Such as `1 job` and `2 jobs`. */
export function counted (count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Such as `1:05` or `2:00:09`. */
export function durationText (seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (value: number) => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

/** A time in the zone of this machine, to the second. */
export function timeText (iso: string): string {
  const date = new Date(iso)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

const barCells = 24

/** A bar of 24 cells for a share from 0 to 1. */
export function barOf (share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * barCells)
  return `[${'#'.repeat(full)}${'.'.repeat(barCells - full)}]`
}

/** One line that is written again and again on a terminal; without one, each text once. */
export interface StatusLine {
  show (text: string): void
  /** Removes the line, before something else is printed. */
  clear (): void
}

export function createStatusLine ({ note, width }: Output): StatusLine {
  let shown = ''
  return {
    show (text) {
      const line = cut(text, width)
      if (line === shown) return
      if (width === null) return
      note(`\r${line}${' '.repeat(Math.max(0, shown.length - line.length))}`)
      shown = line
    },
    clear () {
      if (shown === '') return
      note(`\r${' '.repeat(shown.length)}\r`)
      shown = ''
    }
  }
}
