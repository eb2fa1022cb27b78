/** Tells the workers of this process about jobs that it is about to create. Nobody needs that: it only saves time. */
export interface ComingJobs {
  /** @param serverId the server that probably gets the next job, if it is idle */
  announce (serverId: string): void
  /** Returns what ends it. */
  onComing (listener: (serverId: string) => void): () => void
}

export function createComingJobs (): ComingJobs {
  const listeners = new Set<(serverId: string) => void>()
  return {
    announce (serverId) { for (const listener of listeners) listener(serverId) },
    onComing (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}
