import { StringEnum } from './kit.ts'
import type { Static } from '@sinclair/typebox'

/** The five states of a job; every interface maps these to its own words. */
export const jobStatuses = ['pending', 'processing', 'completed', 'failed', 'cancelled'] as const
export const endStatuses = ['completed', 'failed', 'cancelled'] as const

export const JobStatus = StringEnum(jobStatuses, {
  description: 'pending: waits in the queue. processing: runs on its server. The other three are final.'
})
export type JobStatus = Static<typeof JobStatus>
export type EndStatus = (typeof endStatuses)[number]

export function hasEnded (status: JobStatus): status is EndStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}
