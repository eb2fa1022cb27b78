import type { Server } from '../lib/api-types.ts'
/** States of jobs and healths of servers, in words and colours. */
const words: Readonly<Record<string, readonly [string, string]>> = {
  pending: ['Waiting', 'still'],
  processing: ['Running', 'active'],
  completed: ['Done', 'good'],
  failed: ['Failed', 'bad'],
  cancelled: ['Cancelled', 'still'],
  online: ['Online', 'good'],
  busy: ['Busy', 'active'],
  suspected: ['In a break', 'warn'],
  offline: ['Offline', 'bad'],
  unauthorized: ['Wrong credentials', 'bad'],
  disabled: ['Disabled', 'still'],
  paused: ['Paused', 'warn'],
  unanswered: ['Has not answered yet', 'warn'],
  draining: ['Draining', 'warn'],
  drained: ['Drained', 'still']
}

/** Why a server begins no jobs, as a word of above. */
export function pauseWord ({ draining, drained }: Pick<Server, 'draining' | 'drained'>) {
  return drained ? 'drained' : draining ? 'draining' : 'paused'
}

/** The health of a server, as a word of above: one that never answered is not known to be offline. */
export function healthWord ({ health, last_answer_at: answered }: Pick<Server, 'health' | 'last_answer_at'>) {
  return health === 'offline' && answered === null ? 'unanswered' : health
}

export function statusWord (status: string) {
  return words[status]?.[0] ?? status
}

export function Status ({ status, note }: { status: string, note?: string }) {
  const [word, tone] = words[status] ?? [status, 'still']
  return <span class={`status ${tone}`}>{word}{note ? ` · ${note}` : ''}</span>
}
