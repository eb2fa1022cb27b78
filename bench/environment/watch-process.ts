import { monitorEventLoopDelay } from 'node:perf_hooks'
import { answerParent, used } from './answer-parent.ts'

/** A process's observations of itself while it was watched. */
export interface ProcessWatch {
  /** How late the event loop was, in milliseconds. */
  readonly delay: { readonly p50: number, readonly p99: number, readonly most: number }
  /**
   * For how long the process itself held its event loop at the most, in milliseconds: as late as it was, but no longer
   * than it had a processor meanwhile, since other programs that took its turn say nothing of it.
   */
  readonly held: number
  /** Resident memory in bytes, at the beginning and at the most. */
  readonly memory: { readonly before: number, readonly most: number }
}

/**
 * Loaded into the service before its own code, so that the product itself is measured without knowing of it.
 */
const resolution = 2
const memoryInterval = 10

let histogram = monitorEventLoopDelay({ resolution })
let sampling: NodeJS.Timeout | undefined
let beating: NodeJS.Timeout | undefined
let held = 0
let memory = { before: 0, most: 0 }

/** Records at each beat its delay and the processor time of the process since the one before. */
function beat (): void {
  let last = { at: performance.now(), used: process.cpuUsage() }
  held = 0
  beating = setInterval(() => {
    const at = performance.now()
    const { user, system } = process.cpuUsage(last.used)
    held = Math.max(held, Math.min(at - last.at - resolution, (user + system) / 1000))
    last = { at, used: process.cpuUsage() }
  }, resolution)
}

answerParent({
  used,
  watch () {
    beat()
    histogram = monitorEventLoopDelay({ resolution })
    histogram.enable()
    const before = process.memoryUsage.rss()
    memory = { before, most: before }
    sampling = setInterval(() => {
      memory = { before, most: Math.max(memory.most, process.memoryUsage.rss()) }
    }, memoryInterval)
  },
  report (): ProcessWatch {
    clearInterval(sampling)
    clearInterval(beating)
    histogram.disable()
    // The histogram counts from one beat to the next, the beat's own length included.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution)
    return {
      delay: { p50: late(histogram.percentile(50)), p99: late(histogram.percentile(99)), most: late(histogram.max) },
      held,
      memory
    }
  }
}, () => { process.kill(process.pid, 'SIGTERM') })
// Being asked is no reason to stay.
process.channel?.unref()
