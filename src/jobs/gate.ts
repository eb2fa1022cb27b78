/**
 * Lets one holder through at a time, in the order in which they came. The job that stands first at a server's gate
 * is prepared, so that it is sent the moment the one before it is answered.
 */
export interface Gate {
  /**
   * Resolves with what opens the gate again, once it is this caller's turn.
   * @throws Error when the signal is aborted before that
   */
  enter (signal: AbortSignal): Promise<() => void>
}

export function createGate (): Gate {
  let held = false
  const waiting: Array<() => void> = []

  function release (): void {
    const next = waiting.shift()
    if (next === undefined) held = false
    else next()
  }

  /** Each holder can open the gate once only, however often it says so. */
  function pass (): () => void {
    let released = false
    return () => {
      if (released) return
      released = true
      release()
    }
  }

  return {
    async enter (signal) {
      signal.throwIfAborted()
      if (!held) {
        held = true
        return pass()
      }
      await new Promise<void>((resolve, reject) => {
        const turn = () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        }
        const giveUp = () => {
          waiting.splice(waiting.indexOf(turn), 1)
          reject(new Error('left the gate', { cause: signal.reason }))
        }
        signal.addEventListener('abort', giveUp, { once: true })
        waiting.push(turn)
      })
      return pass()
    }
  }
}
