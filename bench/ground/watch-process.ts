import { monitorEventLoopDelay } from 'node:perf_hooks'
import { answerParent } from './answer-parent.ts'

/** What a process noticed about itself while it was watched. */
export interface ProcessWatch {
  /** How late the event loop was, in milliseconds. */
  readonly delay: { readonly p50: number, readonly p99: number, readonly most: number }
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
let memory = { before: 0, most: 0 }

answerParent({
  watch () {
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
    histogram.disable()
    // The histogram counts from one beat to the next, the beat's own length included.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution)
    return {
      delay: { p50: late(histogram.percentile(50)), p99: late(histogram.percentile(99)), most: late(histogram.max) },
      memory
    }
  }
}, () => { process.kill(process.pid, 'SIGTERM') })
// Being asked is no reason to stay.
process.channel?.unref()
