import { jobs } from './service.js'

export const statuses = ['processing', 'pending', 'completed', 'failed', 'cancelled']
const ended = ['completed', 'failed', 'cancelled']

/** Jobs of each state in the overview. */
const shown = { processing: 50, pending: 5, ended: 10 }

/**
 * The overview of the queue page: jobs that run, wait next and finished last, and how many there are of each.
 * @param {{ server: string }} filter server empty: all
 */
export async function readOverview ({ server }, signal) {
  const read = async (status, more) =>
    await jobs.list({ status, server, limit: shown[status] ?? shown.ended, ...more }, signal)
  const [pages, waiting] = await Promise.all([
    Promise.all(statuses.map(async status => await read(status, status === 'pending' ? { limit: 1 } : {}))),
    read('pending', { order: 'line' })
  ])
  const byStatus = Object.fromEntries(statuses.map((status, index) => [status, pages[index].jobs]))
  return {
    totals: Object.fromEntries(statuses.map((status, index) => [status, pages[index].total])),
    groups: {
      processing: byStatus.processing,
      pending: waiting.jobs,
      ended: ended.flatMap(status => byStatus[status])
        .sort((one, other) => momentOf(other) - momentOf(one))
        .slice(0, shown.ended)
    }
  }
}

function momentOf (job) {
  return Date.parse(job.completion_timestamp ?? job.creation_timestamp)
}
