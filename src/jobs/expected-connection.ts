import type { A1111Client } from '../a1111/client.ts'
import type { PreparedConnection } from '../lib/http/connect.ts'

/** How long a job can take to come, in milliseconds; Redis answers within a few, except on a slow disk. */
const comesWithin = 1000

/** The connection of an idle server for a job that is about to come, so that its request need not wait for one. */
export interface ExpectedConnection {
  /** Opens it, unless there is one. It closes if no job comes. */
  open (): void
  /** The connection for a job that came; a new one if none was expected. Close it if nothing is sent. */
  take (): PreparedConnection
}

/** @param leaving aborted when no further job runs here */
export function createExpectedConnection (
  client: Pick<A1111Client, 'prepare'>, leaving: AbortSignal
): ExpectedConnection {
  let open: PreparedConnection | null = null
  let timer: NodeJS.Timeout | undefined

  function leave (): PreparedConnection | null {
    clearTimeout(timer)
    const left = open
    open = null
    return left
  }

  const close = () => { leave()?.close() }
  leaving.addEventListener('abort', close, { once: true })
  return {
    open () {
      if (open !== null || leaving.aborted) return
      open = client.prepare()
      timer = setTimeout(close, comesWithin).unref()
    },
    take: () => leave() ?? client.prepare()
  }
}
