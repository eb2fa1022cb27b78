/**
 * When an attempt follows the one that failed: Svix's published schedule with one more early step, since a receiver at
 * home is usually back within a minute. https://docs.svix.com/retries
 */
export interface RetrySchedule {
  /** Milliseconds to wait after each failure, in their order; one attempt more than there are waits. */
  readonly delays: readonly number[]
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const maxRetryAfter = 6 * 3_600_000
const minLifetime = 72 * 3_600_000
/** Each wait is stretched or shortened by up to this part of itself, so that events do not come back in herds. */
const jitter = 0.2

/** @param text waits such as `5s,30s,5m,2h`; @throws Error with the reason */
export function parseSchedule (text: string): RetrySchedule {
  const delays = text.split(',').map(part => {
    const [, amount, unit = ''] = /^(\d{1,6})(ms|s|m|h)$/.exec(part.trim()) ?? []
    const factor = units[unit]
    if (amount === undefined || factor === undefined) throw new Error('must be waits such as 5s,30s,5m,2h')
    return Number(amount) * factor
  })
  if (delays.length > 30) throw new Error('must have at most 30 waits')
  return { delays }
}

/** The delay that an answer asks for, if any: seconds or an HTTP date, never more than 6 hours. In milliseconds. */
export function retryAfter (header: string | undefined, now: number): number {
  if (header === undefined) return 0
  const text = header.trim()
  // Date.parse takes nearly anything for a date; HTTP dates end so.
  const date = text.endsWith('GMT') ? Date.parse(text) : NaN
  const asked = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : date - now
  return Number.isFinite(asked) ? Math.min(Math.max(0, asked), maxRetryAfter) : 0
}

/**
 * Milliseconds until the next attempt; null when the schedule has run out.
 * @param failures attempts that have failed, at least 1
 * @param random between 0 and 1
 */
export function nextDelay (
  { delays }: RetrySchedule, failures: number, minDelay: number, random: () => number
): number | null {
  const delay = delays[failures - 1]
  if (delay === undefined) return null
  return Math.round(Math.max(delay * (1 - jitter + 2 * jitter * random()), minDelay))
}

/** How long an event is worth sending: longer than the schedule takes, in milliseconds. */
export function eventLifetime ({ delays }: RetrySchedule): number {
  return Math.max(minLifetime, delays.reduce((sum, delay) => sum + delay * (1 + jitter), 0))
}
