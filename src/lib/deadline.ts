/** A signal made of others. Clear it when nothing waits for it any more: it listens to its sources until then. */
export interface LinkedSignal {
  readonly signal: AbortSignal
  clear (): void
}

export interface Deadline extends LinkedSignal {
  /** True if the time was over before any other signal fired. */
  expired (): boolean
}

/** The reason of a signal whose time was over. Named as AbortSignal.timeout() names it. */
export class DeadlinePassed extends Error {
  override readonly name = 'TimeoutError'

  /** @param milliseconds of the deadline */
  constructor (milliseconds: number) {
    super(`It was not done within ${milliseconds / 1000} s.`)
  }
}

type Source = AbortSignal | undefined

/** The longest delay that setTimeout takes, in milliseconds; it fires at once for a longer one. */
const longestTimer = 2 ** 31 - 1

/**
 * Fires with the reason of the first source that fires. Replaces AbortSignal.any(): on Node 20 its signals are
 * collected together with their listeners and then never fire, and long-lived sources keep the remains.
 */
export function anySignal (...sources: readonly Source[]): LinkedSignal {
  const controller = new AbortController()
  const listening = new Map<AbortSignal, () => void>()
  function clear (): void {
    for (const [source, fire] of listening) source.removeEventListener('abort', fire)
    listening.clear()
  }
  function end (reason: unknown): void {
    clear()
    controller.abort(reason)
  }
  for (const source of sources) {
    if (source === undefined || listening.has(source)) continue
    if (source.aborted) {
      end(source.reason)
      break
    }
    const fire = () => { end(source.reason) }
    listening.set(source, fire)
    source.addEventListener('abort', fire, { once: true })
  }
  return { signal: controller.signal, clear }
}

/**
 * Fires when the time is over, by the monotonic clock and without the time in which the process did not run, or with
 * the reason of the first source that fires. Replaces AbortSignal.timeout(). It keeps the process running until it
 * fires or is cleared, so that it does fire.
 * @param milliseconds from now, Infinity for no limit
 */
export function createDeadline (milliseconds: number, ...sources: readonly Source[]): Deadline {
  const time = new AbortController()
  // Made only when it is needed: an error costs a stack trace.
  let passed: DeadlinePassed | undefined
  // The time comes last: a source that has fired already counts as first.
  const linked = anySignal(...sources, time.signal)
  function pass (): void {
    passed = new DeadlinePassed(milliseconds)
    time.abort(passed)
  }
  const stopTimer = linked.signal.aborted ? () => {} : startTimer(milliseconds, pass)
  linked.signal.addEventListener('abort', stopTimer, { once: true })
  return {
    signal: linked.signal,
    expired: () => passed !== undefined && linked.signal.reason === passed,
    clear () {
      stopTimer()
      linked.clear()
    }
  }
}

/**
 * Runs the work under a deadline, and clears that when the work settles. The work itself must heed the signal.
 * @param milliseconds from now, Infinity for no limit
 */
export async function withDeadline<Result> (
  milliseconds: number, sources: readonly Source[], work: (signal: AbortSignal, deadline: Deadline) => Promise<Result>
): Promise<Result> {
  const deadline = createDeadline(milliseconds, ...sources)
  try {
    return await work(deadline.signal, deadline)
  } finally {
    deadline.clear()
  }
}

/** A timer that fires so much too late shows that the process did not run meanwhile, in milliseconds. */
const standstill = 250
/** A deadline is counted in pieces of at least so many milliseconds. */
const shortestPiece = 1000

/**
 * As `setTimeout`, also for longer than 24 days. Time in which the process did not run does not count (a machine that
 * sleeps, a frozen container, a loop that was busy): timers fire before the answers that came meanwhile are read, and
 * those answers were in time. Returns a function that stops it.
 */
export function startTimer (milliseconds: number, whenOver: () => void): () => void {
  let left = milliseconds
  let isExtended = false
  let timer: NodeJS.Timeout
  function wait (): void {
    const piece = Math.max(0, Math.min(left, Math.max(milliseconds / 4, shortestPiece), longestTimer))
    const dueAt = performance.now() + piece
    timer = setTimeout(() => {
      const late = performance.now() - dueAt
      left -= late > standstill ? piece : piece + late
      if (left > 0) return wait()
      if (late <= standstill || isExtended) return whenOver()
      isExtended = true
      left = Math.min(milliseconds, shortestPiece)
      wait()
    }, piece)
  }
  wait()
  return () => { clearTimeout(timer) }
}

/** Lets a loop rest until there is work. */
export interface WakeUp {
  /** There is work; also while the loop is busy and rests only afterwards. */
  ring (): void
  /** Resolves with the next ring, after so many milliseconds, or at once if the loop must end. */
  quiet (milliseconds?: number): Promise<void>
}

/** @param ending ends the loop, and each rest with it */
export function createWakeUp (ending: AbortSignal): WakeUp {
  let rung = false
  let wake = () => {}
  ending.addEventListener('abort', () => { wake() }, { once: true })
  return {
    ring () {
      rung = true
      wake()
    },
    async quiet (milliseconds) {
      if (!rung && !ending.aborted) {
        let timer: NodeJS.Timeout | undefined
        await new Promise<void>(resolve => {
          wake = resolve
          if (milliseconds !== undefined) timer = setTimeout(resolve, milliseconds)
        })
        clearTimeout(timer)
      }
      rung = false
    }
  }
}
