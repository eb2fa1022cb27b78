import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** Use of the processors up to a time, in ticks of a hundredth of a second. */
export interface ProcessorUse {
  readonly moment: number
  /** By all programs. */
  readonly all: number
  /** By this process and those that it started and that have ended. */
  readonly own: number
}

/** As Linux reports it, proc(5); undefined elsewhere. */
export function readProcessorUse (): ProcessorUse | undefined {
  try {
    const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0] = numbersOf('/proc/stat', 'cpu ')
    const [, , , , , , , , , , , ownUser = 0, ownSystem = 0, childUser = 0, childSystem = 0] = numbersOf('/proc/self/stat', ')')
    return {
      moment: performance.now(),
      all: user + nice + system + interrupts + softInterrupts,
      own: ownUser + ownSystem + childUser + childSystem
    }
  } catch {
    return undefined
  }
}

/** The share of all processors that other programs took between two times; undefined if unknown. */
export function shareOfOthers (before: ProcessorUse | undefined, after: ProcessorUse | undefined): number | undefined {
  if (before === undefined || after === undefined) return undefined
  const ticks = (after.moment - before.moment) / 10 * cpus().length
  return Math.max(0, after.all - before.all - (after.own - before.own)) / ticks
}

/** The numbers of a file's first line after a mark; what is none is NaN. */
function numbersOf (path: string, mark: string): number[] {
  const text = readFileSync(path, 'utf8')
  const line = text.slice(text.lastIndexOf(mark, text.indexOf('\n')) + mark.length).split('\n')[0] ?? ''
  return line.trim().split(/\s+/).map(Number)
}
