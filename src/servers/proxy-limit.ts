import type { Workload } from './cost-model.ts'

/** A generation that a proxy in front of its server did not wait for. */
export interface GivenUp {
  /** When the proxy gave up, from sending it on. */
  readonly seconds: number
  /** How long it really took, where that was seen. */
  readonly needed: number | null
  readonly workload: Workload
}

/**
 * How long whatever stands in front of one server waits for an answer, as far as generations have shown. Memory of one
 * process: what is lost with it is learned again with two generations, or with one where a thorough check of the server
 * found the limit.
 */
export interface ProxyLimit {
  /** Whether it was known before: it gave up after as long as the time before. */
  gaveUp (seen: GivenUp): boolean
  /** An answer came through after so many seconds. */
  answered (seconds: number): void
  /** A generation that was given up and asked no more than this one; null where this one may go through. */
  against (workload: Workload): GivenUp | null
}

/** Time limits are the same each time, but for the way there and back. */
const tolerance = 0.2
const toleranceSeconds = 0.5
/** So long after the last proof, in milliseconds, one generation may find out whether the limit was raised. */
const believedFor = 300_000
const mostRemembered = 20

/** What a thorough check found. */
export interface CheckedLimit {
  /** Seconds after which a proxy gave up; null where none was seen to. */
  seconds (): number | null
  /** An answer came later than that. */
  raised (seconds: number): void
}

const unchecked: CheckedLimit = { seconds: () => null, raised () {} }

export function createProxyLimit (checked = unchecked, now = () => performance.now()): ProxyLimit {
  let seen: GivenUp[] = []
  let isConfirmed = false
  let seenAt = 0

  return {
    gaveUp (one) {
      const isAsBefore = isSame(seen.at(-1)?.seconds ?? null, one.seconds)
      seen = isAsBefore ? [...seen, one].slice(-mostRemembered) : [one]
      isConfirmed = isAsBefore || isSame(checked.seconds(), one.seconds)
      seenAt = now()
      return isConfirmed
    },
    answered (seconds) {
      const limit = checked.seconds()
      if (limit !== null && seconds > limit) checked.raised(seconds)
      const last = seen.at(-1)
      if (last === undefined || seconds <= last.seconds) return
      seen = []
      isConfirmed = false
    },
    against (workload) {
      if (!isConfirmed || now() - seenAt > believedFor) return null
      return seen.find(one => one.workload.evaluations <= workload.evaluations &&
        one.workload.megapixels <= workload.megapixels) ?? null
    }
  }
}

function isSame (limit: number | null, seconds: number): boolean {
  return limit !== null && Math.abs(limit - seconds) <= Math.max(limit * tolerance, toleranceSeconds)
}
