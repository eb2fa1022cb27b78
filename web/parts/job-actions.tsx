import type { JobStatus, ListedJob } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { useMayChange } from '../lib/caller.ts'
import { attempt, complain } from '../lib/messages.ts'
import { isEnlarging } from '../lib/inputs.ts'
import { jobs } from '../lib/service.ts'
import { Confirm, useOpenDialog } from './dialog.tsx'
import { Icon, type IconName } from './icon.tsx'

/** Actions for a job in each state, the most common first. */
type Action = 'runNow' | 'edit' | 'cancel' | 'retry' | 'remove'

const actionsOf: Readonly<Record<JobStatus, readonly Action[]>> = {
  pending: ['runNow', 'edit', 'cancel'],
  processing: ['cancel'],
  completed: ['remove'],
  failed: ['retry', 'remove'],
  cancelled: ['retry', 'remove']
}

const actions: Readonly<Record<Action, { label: string, icon: IconName }>> = {
  runNow: { label: 'Run now', icon: 'bolt' },
  edit: { label: 'Edit', icon: 'pen' },
  cancel: { label: 'Cancel', icon: 'stop' },
  retry: { label: 'Retry', icon: 'again' },
  remove: { label: 'Delete', icon: 'bin' }
}

/**
 * @param props isPlaced: other controls move the job in its queue; onDone is called after a successful action
 */
export function JobActions ({ job, isPlaced = false, onDone }: {
  job: Pick<ListedJob, 'id' | 'status' | 'generation_params' | 'cancel_requested' | 'api_key_id'>
  isPlaced?: boolean
  onDone: (action: Action) => void
}) {
  const mayChange = useMayChange()
  const openDialog = useOpenDialog()
  const [confirming, setConfirming] = useState(false)
  const prompt = job.generation_params.prompt || 'job without a prompt'

  /** The form comes with its code when it is wanted for the first time. */
  async function edit () {
    try {
      const { EditJob } = await import('./edit-job.tsx')
      openDialog(close => <EditJob id={job.id} onClose={close} onChanged={() => onDone('edit')} />)
    } catch (error) {
      complain(error)
    }
  }

  async function act (action: Action) {
    setConfirming(false)
    if (action === 'edit') return await edit()
    if (await attempt(() => jobs[action](job.id))) onDone(action)
  }

  if (!mayChange(job)) return null
  return (
    <>
      {actionsOf[job.status].filter(action => action === 'runNow' ? !isPlaced : action !== 'edit' || !isEnlarging(job)).map(action => (
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
