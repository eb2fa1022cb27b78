import { jobs } from './service.js'

export const statuses = ['processing', 'pending', 'completed', 'failed', 'cancelled']
const ended = ['completed', 'failed', 'cancelled']

/**
 * What the queue page shows: jobs by state, each in the order that matters, and how many there are of each.
 * @param {{ status: string, server: string, search: string, size: number }} filter an empty status means all
 */
export async function readQueue ({ status, server, search, size }, signal) {
  const pages = await Promise.all(statuses.map(async each => await jobs.list({
    status: each,
    server,
    search,
    limit: status === '' || status === each ? size : 1,
    order: each === 'pending' ? 'asc' : 'desc'
  }, signal)))
  const byStatus = Object.fromEntries(statuses.map((each, index) => [each, pages[index].jobs]))
  const totals = Object.fromEntries(statuses.map((each, index) => [each, pages[index].total]))
  const shown = wanted => wanted.filter(each => status === '' || status === each).flatMap(each => byStatus[each])
  const shownEnded = shown(ended)
  return {
    totals,
    groups: {
      processing: shown(['processing']),
      pending: shown(['pending']).sort((one, other) => (one.queue_position ?? 0) - (other.queue_position ?? 0)),
      ended: shownEnded.sort((one, other) => momentOf(other) - momentOf(one)).slice(0, size)
    },
    hasMore: statuses.some(each => (status === '' || status === each) && totals[each] > size) || shownEnded.length > size
  }
}

function momentOf (job) {
  return Date.parse(job.completion_timestamp ?? job.last_updated_timestamp)
}
