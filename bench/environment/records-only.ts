import type { QueuePort } from '../../src/jobs/queue-entries.ts'

/** Lets the store write its records without a queue: for filling Redis with jobs that have long ended. */
export const recordsOnly: QueuePort = {
  entriesLua: 'local function addEntry () end\nlocal function removeEntry () end\n'
}
