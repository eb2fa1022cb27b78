import { html, useState } from '../lib/html.js'
import { attempt } from '../lib/messages.js'
import { jobs } from '../lib/service.js'
import { Confirm } from './dialog.js'
import { Icon } from './icon.js'

/** Actions for a job in each state, the most common first. */
const actionsOf = {
  pending: ['runNow', 'cancel'],
  processing: ['cancel'],
  completed: ['remove'],
  failed: ['retry', 'remove'],
  cancelled: ['retry', 'remove']
}

const actions = {
  runNow: { label: 'Run now', icon: 'bolt' },
  cancel: { label: 'Cancel', icon: 'stop' },
  retry: { label: 'Retry', icon: 'again' },
  remove: { label: 'Delete', icon: 'bin' }
}

/** @param {{ job: object, onDone: (action: string) => void }} props onDone is called after a successful action */
export function JobActions ({ job, onDone }) {
  const [confirming, setConfirming] = useState(false)
  const prompt = job.generation_params.prompt || 'job without a prompt'

  async function act (action) {
    setConfirming(false)
    if (await attempt(() => jobs[action](job.id))) onDone(action)
  }

  return html`
    ${actionsOf[job.status].map(action => html`
      <button key=${action} type="button" class="button quiet" disabled=${job.cancel_requested}
        aria-label="${actions[action].label}: ${prompt.slice(0, 80)}" title=${actions[action].label}
        onClick=${() => action === 'remove' ? setConfirming(true) : act(action)}>
        <${Icon} name=${actions[action].icon} /><span class="word">${actions[action].label}</span>
      </button>`)}
    ${confirming && html`
      <${Confirm} title="Delete this job?" sentence="This permanently deletes the job and its images." action="Delete"
        onConfirm=${() => act('remove')} onClose=${() => setConfirming(false)} />`}`
}
