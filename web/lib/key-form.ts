import type { JobEvent } from '../../schemas/webhook.ts'
import type { ApiKeyCreation, ApiKeyUpdate, Key } from './api-types.ts'
import { t } from '../texts/en/keys.ts'
/** From the form of an access key to the API, and back. */

/** Scopes, grouped by task. */
export const rights = [
  { value: '', label: t.submitJobsAndSee },
  { value: 'all', label: t.alsoSeeAndCancel },
  { value: '*', label: t.everythingIncludingServersAnd },
  { value: 'chosen', label: t.selectedBelow }
]
const ordinary: string[] = ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']
const scopesOf: Readonly<Record<string, string[]>> = { '': ordinary, all: [...ordinary, 'jobs:read:all', 'jobs:cancel:all'], '*': ['*'] }

export const scopeWords = {
  'jobs:write': t.submitAndChangeJobs,
  'jobs:read': t.seeItsJobs,
  'jobs:read:all': t.seeAllJobs,
  'jobs:cancel:all': t.cancelAllJobs,
  'images:read': t.getImages,
  'models:read': t.seeModels,
  'models:write': t.changeScanAndDownload,
  'servers:read': t.seeServers,
  'servers:admin': t.addChangeAndPause,
  'queue:admin': t.allWebhooksAndSettings,
  'keys:admin': t.createAndRevokeKeys,
  'webhooks:private': t.sendWebhooksIntoPrivate
}

export const eventWords = {
  'job.started': t.generationStarted,
  'job.progress': t.progress,
  'job.completed': t.itIsCompleted,
  'job.failed': t.itFailed,
  'job.cancelled': t.itWasCancelled
}

const endEvents = ['job.completed', 'job.failed', 'job.cancelled']

type DropIn = Key['drop_in']

/** Values of the form. */
export type KeyValues = typeof emptyKey

export const emptyKey = {
  name: '',
  description: '',
  rights: '',
  scopes: ordinary,
  rate_limit_per_minute: '',
  background: false,
  is_active: true,
  answer: 'wait',
  on_hang_up: 'continue',
  server: '',
  early_job_id: false,
  webhook_url: '',
  webhook_events: endEvents
}

/** A key as values of the form. */
export function formOfKey (key: Key) {
  const { answer, on_hang_up: onHangUp, server, early_job_id: earlyJobId } = key.drop_in
  return {
    name: key.name,
    description: key.description,
    rights: rightsOf(key.scopes),
    scopes: key.scopes.includes('*') ? Object.keys(scopeWords) : key.scopes,
    rate_limit_per_minute: key.rate_limit_per_minute === null ? '' : String(key.rate_limit_per_minute),
    background: key.background,
    is_active: key.is_active,
    answer: answer ?? emptyKey.answer,
    on_hang_up: onHangUp ?? emptyKey.on_hang_up,
    server: server ?? '',
    early_job_id: earlyJobId ?? false,
    webhook_url: key.webhook_url ?? '',
    webhook_events: key.webhook_events ?? endEvents
  }
}

function rightsOf (scopes: readonly string[]) {
  const same = (wanted: readonly string[]) =>
    wanted.length === scopes.length && wanted.every(scope => scopes.includes(scope))
  return Object.entries(scopesOf).find(([, scopes]) => same(scopes))?.[0] ?? 'chosen'
}

/**
 * @param before the stored key, or null for a new one. The request contains the endpoint only if it
 *   changed, because the form shows its address without the query.
 */
export function requestOfKey (form: KeyValues, before: Key | null) {
  const { answer, on_hang_up: onHangUp, server, early_job_id: earlyJobId, rate_limit_per_minute: rate } = form
  const request: ApiKeyCreation & ApiKeyUpdate = {
    name: form.name,
    description: form.description,
    scopes: (scopesOf[form.rights] ?? form.scopes) as Key['scopes'],
    ...rate === '' && before === null ? {} : { rate_limit_per_minute: rate === '' ? null : Number(rate) },
    background: form.background,
    drop_in: { answer: answer as DropIn['answer'], on_hang_up: onHangUp as DropIn['on_hang_up'], server: server === '' ? null : server, early_job_id: earlyJobId }
  }
  if (before !== null) request.is_active = form.is_active
  const wasUrl = before?.webhook_url ?? ''
  const wasEvents = before?.webhook_events ?? endEvents
  if (form.webhook_url === wasUrl && form.webhook_events.join() === wasEvents.join()) return request
  if (form.webhook_url === '') return { ...request, webhook_url: null }
  return { ...request, webhook_url: form.webhook_url, webhook_events: form.webhook_events as JobEvent[] }
}

/** The scopes of a key in words. */
export function rightsText (scopes: readonly string[]) {
  const name = rightsOf(scopes)
  return name === 'chosen' ? scopes.join(', ') : rights.find(({ value }) => value === name)?.label ?? ''
}

/** How /sdapi/v1 treats clients of a key, in words; empty for the defaults. */
export function dropInText ({ answer, on_hang_up: onHangUp, early_job_id: earlyJobId }: Key['drop_in']) {
  return [
    answer === 'async' ? t.answersAtOnce : earlyJobId ? t.sendsJobIdEarly : '',
    onHangUp === 'cancel' ? t.cancelsWhenCallerHangs : ''
  ].filter(Boolean).join(', ')
}
