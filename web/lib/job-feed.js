import { jobs } from './service.js'

export const statuses = ['processing', 'pending', 'completed', 'failed', 'cancelled']
const ended = ['completed', 'failed', 'cancelled']

/** Jobs of each state in the overview. */
const shown = { processing: 50, pending: 5, ended: 10 }

/**
 * The overview of the queue page: jobs that run, wait next and finished last, and how many there are of each.
 * @param {{ server: string, lines: string[] }} filter server empty: all; lines: the servers whose queues are shown
 */
export async function readOverview ({ server, lines }, signal) {
  const read = async (status, more) =>
    await jobs.list({ status, server, limit: shown[status] ?? shown.ended, ...more }, signal)
  const [pages, queuePages] = await Promise.all([
    Promise.all(statuses.map(async status => await read(status, status === 'pending' ? { limit: 1 } : {}))),
    Promise.all(lines.map(async alias => await read('pending', { server: alias, order: 'line' })))
  ])
  const byStatus = Object.fromEntries(statuses.map((status, index) => [status, pages[index].jobs]))
  return {
    totals: Object.fromEntries(statuses.map((status, index) => [status, pages[index].total])),
    groups: {
      processing: byStatus.processing,
      pending: queuePages.flatMap(page => page.jobs)
        .sort((one, other) => (one.queue_position ?? 0) - (other.queue_position ?? 0))
        .slice(0, shown.pending),
      ended: ended.flatMap(status => byStatus[status])
        .sort((one, other) => momentOf(other) - momentOf(one))
        .slice(0, shown.ended)
    }
  }
}

function momentOf (job) {
  return Date.parse(job.completion_timestamp ?? job.last_updated_timestamp)
}
