import type { A1111Client, HeldConnection } from '../a1111/client.ts'

/**
 * A connection on which nothing is said: it breaks with the server's process, so that a restart is noticed however
 * short it is. A proxy in between may break it as well, which then looks like a restart.
 */
export interface ProcessLine {
  /** Whether it has stood since it was last renewed. */
  isUnbroken (): boolean
  /** Connects again where it is broken; never throws for the server's sake. */
  renew (): Promise<void>
  close (): void
}

export function createProcessLine (client: Pick<A1111Client, 'hold'>): ProcessLine {
  let held: HeldConnection | null = null
  let closed = false
  return {
    isUnbroken: () => held?.stands() === true,
    async renew () {
      if (held?.stands() === true || closed) return
      held = await client.hold().catch(() => null)
      if (closed) held?.close()
    },
    close () {
      closed = true
      held?.close()
    }
  }
}
