import type { JobStatus, ListedJob } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Confirm } from './dialog.tsx'
import { Icon, type IconName } from './icon.tsx'

/** Actions for a job in each state, the most common first. */
type Action = 'runNow' | 'cancel' | 'retry' | 'remove'

const actionsOf: Readonly<Record<JobStatus, readonly Action[]>> = {
  pending: ['runNow', 'cancel'],
  processing: ['cancel'],
  completed: ['remove'],
  failed: ['retry', 'remove'],
  cancelled: ['retry', 'remove']
}

const actions: Readonly<Record<Action, { label: string, icon: IconName }>> = {
  runNow: { label: 'Run now', icon: 'bolt' },
  cancel: { label: 'Cancel', icon: 'stop' },
  retry: { label: 'Retry', icon: 'again' },
  remove: { label: 'Delete', icon: 'bin' }
}

/**
 * @param props isPlaced: other controls move the job in its queue; onDone is called after a successful action
 */
export function JobActions ({ job, isPlaced = false, onDone }: {
  job: Pick<ListedJob, 'id' | 'status' | 'generation_params' | 'cancel_requested'>
  isPlaced?: boolean
  onDone: (action: Action) => void
}) {
  const [confirming, setConfirming] = useState(false)
  const prompt = job.generation_params.prompt || 'job without a prompt'

  async function act (action: Action) {
    setConfirming(false)
    if (await attempt(() => jobs[action](job.id))) onDone(action)
  }

  return (
    <>
      {actionsOf[job.status].filter(action => !isPlaced || action !== 'runNow').map(action => (
        <button
          key={action} type='button' class='button quiet' disabled={job.cancel_requested}
          aria-label={`${actions[action].label}: ${prompt.slice(0, 80)}`} title={actions[action].label}
          onClick={() => action === 'remove' ? setConfirming(true) : act(action)}
        >
          <Icon name={actions[action].icon} /><span class='word'>{actions[action].label}</span>
        </button>
      ))}
      {confirming && (
        <Confirm
          title='Delete this job?' sentence='This permanently deletes the job and its images.' action='Delete'
          onConfirm={() => act('remove')} onClose={() => setConfirming(false)}
        />
      )}
    </>
  )
}
