/** Lets a number of holders in at a time, in the order in which they asked. */
export interface Semaphore {
  /**
   * Resolves with a function that releases the slot, once there is one; a second call of it does nothing.
   * @throws the reason of the signal if it is aborted before that
   */
  enter (signal?: AbortSignal): Promise<() => void>
  /**
   * Runs the work in a slot.
   * @throws the reason of the signal when it is aborted before a slot is free
   */
  run<Outcome> (work: () => Promise<Outcome>, signal?: AbortSignal): Promise<Outcome>
  /** How many wait for a slot. */
  waiting (): number
}

export function createSemaphore (slots: number): Semaphore {
  const queue: Array<() => void> = []
  let taken = 0

  /** The slot goes to the next in the queue without becoming free, so that no request overtakes. */
  function leave (): void {
    const next = queue.shift()
    if (next === undefined) taken--
    else next()
  }

  function slot (): () => void {
    let left = false
    return () => {
      if (left) return
      left = true
      leave()
    }
  }

  async function enter (signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted()
    if (taken < slots) {
      taken++
      return slot()
    }
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal?.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        queue.splice(queue.indexOf(turn), 1)
        const reason: unknown = signal?.reason
        reject(reason instanceof Error ? reason : new Error(String(reason)))
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      queue.push(turn)
    })
    return slot()
  }

  return {
    enter,
    async run (work, signal) {
      const exit = await enter(signal)
      try {
        return await work()
      } finally {
        exit()
      }
    },
    waiting: () => queue.length
  }
}
