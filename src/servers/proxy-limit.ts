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
 * How long whatever stands in front of one server waits for an answer, as far as generations have shown. Pure memory of
 * one process: what is lost with it is learned again with two generations.
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

export function createProxyLimit (now = () => performance.now()): ProxyLimit {
  let seen: GivenUp[] = []
  let isConfirmed = false
  let seenAt = 0

  return {
    gaveUp (one) {
      const last = seen.at(-1)
      const isSame = last !== undefined &&
        Math.abs(last.seconds - one.seconds) <= Math.max(last.seconds * tolerance, toleranceSeconds)
      seen = isSame ? [...seen, one].slice(-mostRemembered) : [one]
      isConfirmed = isSame
      seenAt = now()
      return isSame
    },
    answered (seconds) {
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
