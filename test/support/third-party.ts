/** Somebody who uses the same server without us. */
export interface ThirdParty {
  /** How many generations it had answered. */
  generations (): number
  /** Resolves when the last one is answered. */
  stop (): Promise<void>
}

/** Has one generation after another made, all with this prompt, straight at the server. */
export function startThirdParty (serverUrl: string, prompt: string): ThirdParty {
  const body = JSON.stringify({ prompt, steps: 4, width: 64, height: 64 })
  const over = new AbortController()
  let answered = 0

  async function generateOn (): Promise<void> {
    while (!over.signal.aborted) {
      // A connection of its own each time, as the server drops those that were idle just when a request comes.
      const answer = await fetch(`${serverUrl}/sdapi/v1/txt2img`, {
        method: 'POST', headers: { 'content-type': 'application/json', connection: 'close' }, body
      })
      await answer.arrayBuffer()
      answered++
    }
  }
  const generating = generateOn()
  generating.catch(() => {}) // told by stop()

  return {
    generations: () => answered,
    async stop () {
      over.abort()
      await generating
    }
  }
}
