import type { Job } from './job.ts'

/** A job that is being created. */
export type ComingJob = Pick<Job, 'id' | 'submission'>

/** Tells the workers of this process about jobs that it is about to create. Nobody needs that: it only saves time. */
export interface ComingJobs {
  /** @param serverId the server that probably gets the job, if it is idle */
  announce (serverId: string, job: ComingJob): void
  /** Returns what ends it. */
  onComing (listener: (serverId: string, job: ComingJob) => void): () => void
}

export function createComingJobs (): ComingJobs {
  const listeners = new Set<(serverId: string, job: ComingJob) => void>()
  return {
    announce (serverId, job) { for (const listener of listeners) listener(serverId, job) },
    onComing (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}
