/** Lets a loop rest until there is something to look at. */
export interface WakeUp {
  /** There is; also where the loop is at work and only rests afterwards. */
  ring (): void
  /** Resolves with the next ring, after so many milliseconds, or at once when the loop is to end. */
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
