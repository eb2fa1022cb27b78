/** Another client of the same server, without StableQueue. */
export interface ThirdParty {
  /** The number of answered generations. */
  generations (): number
  /** Resolves when the last one is answered. */
  stop (): Promise<void>
}

/** Sends one generation after another, all with this prompt, directly to the server. */
export function startThirdParty (serverUrl: string, prompt: string): ThirdParty {
  const body = JSON.stringify({ prompt, steps: 4, width: 64, height: 64 })
  const over = new AbortController()
  let answered = 0

  async function generateOn (): Promise<void> {
    while (!over.signal.aborted) {
      // A new connection each time, because the server can close an idle one just when a request arrives.
      const answer = await fetch(`${serverUrl}/sdapi/v1/txt2img`, {
        method: 'POST', headers: { 'content-type': 'application/json', connection: 'close' }, body
      })
      await answer.arrayBuffer()
      answered++
    }
  }
  const generating = generateOn()
  generating.catch(() => {}) // stop() reports it

  return {
    generations: () => answered,
    async stop () {
      over.abort()
      await generating
    }
  }
}
