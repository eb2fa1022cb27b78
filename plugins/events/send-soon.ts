/** Longest time for which an event waits for others, in milliseconds. */
const longestWait = 50
/** Streams for each millisecond of that time: few streams get each event at once. */
const streamsPerMillisecond = 10

/** Open streams. */
let streams = 0
/** Sends of those that have something to send. */
const unsent = new Set<() => void>()
let timer: NodeJS.Timeout | undefined
let isDue = false

/** Counts an open stream; returns a function for its end. */
export function countStream (): () => void {
  streams++
  return () => { streams-- }
}

/**
 * A write costs as much for ten events as for one, so what streams get within a short time is sent with one write. A
 * job's end waits for nothing, and takes with it what came before.
 */
export function sendSoon (send: () => void, isUrgent: boolean): void {
  unsent.add(send)
  if (isDue) return
  const wait = isUrgent ? 0 : Math.min(longestWait, Math.floor(streams / streamsPerMillisecond))
  if (wait > 0) {
    timer ??= setTimeout(sendAll, wait)
    return
  }
  isDue = true
  setImmediate(sendAll)
}

/** Sends what waits, of all streams. */
export function sendAll (): void {
  clearTimeout(timer)
  timer = undefined
  isDue = false
  const sends = [...unsent]
  unsent.clear()
  for (const send of sends) send()
}
