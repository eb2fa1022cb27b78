import type { Server } from '../lib/api-types.ts'
import { common } from '../texts/en/common.ts'

/** States of jobs and healths of servers, in words and colours. */
const words: Readonly<Record<string, readonly [string, string]>> = {
  pending: [common.waiting, 'still'],
  processing: [common.running, 'active'],
  completed: [common.done, 'good'],
  failed: [common.failed, 'bad'],
  cancelled: [common.cancelled, 'still'],
  online: [common.online, 'good'],
  busy: [common.busy, 'active'],
  suspected: [common.inBreak, 'warn'],
  offline: [common.offline, 'bad'],
  unauthorized: [common.wrongCredentials, 'bad'],
  disabled: [common.disabled, 'still'],
  paused: [common.paused, 'warn'],
  unanswered: [common.hasNotAnsweredYet, 'warn'],
  draining: [common.draining, 'warn'],
  drained: [common.drained, 'still']
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
  return <span class={`status ${tone}${note ? ' noted' : ''}${status === 'cancelled' ? ' cancelled' : ''}`}>{note ? common.statusAnd({ status: word, note }) : word}</span>
}
