/** From the form of an access key to the API, and back. */

/** Scopes, grouped by task. */
export const rights = [
  { value: '', label: 'Submit jobs and see its own' },
  { value: 'all', label: 'Also see and cancel all jobs' },
  { value: '*', label: 'Everything, including servers and keys' },
  { value: 'chosen', label: 'Selected below' }
]
const ordinary = ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']
const scopesOf = { '': ordinary, all: [...ordinary, 'jobs:read:all', 'jobs:cancel:all'], '*': ['*'] }

export const scopeWords = {
  'jobs:write': 'Submit and change jobs',
  'jobs:read': 'See its jobs',
  'jobs:read:all': 'See all jobs',
  'jobs:cancel:all': 'Cancel all jobs',
  'images:read': 'Get images',
  'models:read': 'See models',
  'models:write': 'Change, scan and download models',
  'servers:read': 'See servers',
  'servers:admin': 'Add, change and pause servers',
  'queue:admin': 'All webhooks and settings',
  'keys:admin': 'Create and revoke keys',
  'webhooks:private': 'Send webhooks into private networks'
}

export const eventWords = {
  'job.started': 'A generation started',
  'job.progress': 'Progress',
  'job.completed': 'It is completed',
  'job.failed': 'It failed',
  'job.cancelled': 'It was cancelled'
}

const endEvents = ['job.completed', 'job.failed', 'job.cancelled']

export const emptyKey = {
  name: '',
  description: '',
  rights: '',
  scopes: ordinary,
  rate_limit_per_minute: '',
  is_active: true,
  answer: 'wait',
  on_hang_up: 'continue',
  server: '',
  early_job_id: false,
  webhook_url: '',
  webhook_events: endEvents
}

/** A key as values of the form. */
export function formOfKey (key) {
  const { answer, on_hang_up: onHangUp, server, early_job_id: earlyJobId } = key.drop_in
  return {
    name: key.name,
    description: key.description,
    rights: rightsOf(key.scopes),
    scopes: key.scopes.includes('*') ? Object.keys(scopeWords) : key.scopes,
    rate_limit_per_minute: key.rate_limit_per_minute === null ? '' : String(key.rate_limit_per_minute),
    is_active: key.is_active,
    answer,
    on_hang_up: onHangUp,
    server: server ?? '',
    early_job_id: earlyJobId,
    webhook_url: key.webhook_url ?? '',
    webhook_events: key.webhook_events ?? endEvents
  }
}

function rightsOf (scopes) {
  const same = wanted => wanted.length === scopes.length && wanted.every(scope => scopes.includes(scope))
  return Object.keys(scopesOf).find(name => same(scopesOf[name])) ?? 'chosen'
}

/**
 * @param {typeof emptyKey} form
 * @param {object | null} before the stored key, or null for a new one. The request contains the endpoint only if it
 *   changed, because the form shows its address without the query.
 */
export function requestOfKey (form, before) {
  const { answer, on_hang_up: onHangUp, server, early_job_id: earlyJobId, rate_limit_per_minute: rate } = form
  const request = {
    name: form.name,
    description: form.description,
    scopes: form.rights === 'chosen' ? form.scopes : scopesOf[form.rights],
    ...rate === '' && before === null ? {} : { rate_limit_per_minute: rate === '' ? null : Number(rate) },
    drop_in: { answer, on_hang_up: onHangUp, server: server === '' ? null : server, early_job_id: earlyJobId }
  }
  if (before !== null) request.is_active = form.is_active
  const wasUrl = before?.webhook_url ?? ''
  const wasEvents = before?.webhook_events ?? endEvents
  if (form.webhook_url === wasUrl && form.webhook_events.join() === wasEvents.join()) return request
  if (form.webhook_url === '') return { ...request, webhook_url: null }
  return { ...request, webhook_url: form.webhook_url, webhook_events: form.webhook_events }
}

/** The scopes of a key in words. */
export function rightsText (scopes) {
  const name = rightsOf(scopes)
  return name === 'chosen' ? scopes.join(', ') : rights.find(({ value }) => value === name).label
}

/** How /sdapi/v1 treats clients of a key, in words; empty for the defaults. */
export function dropInText ({ answer, on_hang_up: onHangUp, early_job_id: earlyJobId }) {
  return [
    answer === 'async' ? 'answers at once' : earlyJobId ? 'sends the job id early' : '',
    onHangUp === 'cancel' ? 'cancels when the caller hangs up' : ''
  ].filter(Boolean).join(', ')
}
