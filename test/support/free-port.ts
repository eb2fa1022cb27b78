import { once } from 'node:events'
import { createServer } from 'node:net'

/** Systems choose ports of connections and of `listen(0)` from 32,768 on (Linux) or 49,152 on (macOS, Windows). */
const lowest = 10_000
const highest = 32_767

/**
 * A port on which nothing listens now, for programs that cannot choose one themselves. No connection takes it before
 * the program listens; another test could only draw the same one. With `distance`, the port that far above it is free
 * too.
 */
export async function freePort (distance = 0): Promise<number> {
  for (;;) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest - distance + 1))
    if (await isFree(port) && await isFree(port + distance)) return port
  }
}

async function isFree (port: number): Promise<boolean> {
  // All addresses: a program may listen on more than loopback.
  const server = createServer().listen(port)
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    await new Promise(resolve => { server.close(resolve) })
  }
}
