/**
 * Every spelling of the routes of jobs that clients and documents use; `flat` is how v1 always gave one job's status.
 */
export const jobBases = [
  { base: '/api/v2/jobs', name: 'v2', status: 'wrapped' },
  { base: '/api/v2/queue/jobs', name: 'v2_queue', status: 'wrapped' },
  { base: '/api/v1/jobs', name: 'v1', status: 'flat' },
  { base: '/api/v1/queue/jobs', name: 'v1_queue', status: 'flat' }
] as const
