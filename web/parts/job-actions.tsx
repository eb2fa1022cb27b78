import type { JobStatus, ListedJob } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { useMayChange } from '../lib/caller.ts'
import { attempt } from '../lib/messages.ts'
import { isEnlarging } from '../lib/inputs.ts'
import { jobs } from '../lib/service.ts'
import { Confirm, onDemand, useOpenDialog } from './dialog.tsx'
import { Icon, type IconName } from './icon.tsx'
import { LaneSwitch } from './lane-switch.tsx'
import { OnceButton } from './once-button.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

const EditJob = onDemand(async () => (await import('./edit-job.tsx')).EditJob)

/** Actions for a job in each state, the most common first. */
type Action = 'runNow' | 'lane' | 'edit' | 'cancel' | 'retry' | 'remove'

const actionsOf: Readonly<Record<JobStatus, readonly Action[]>> = {
  pending: ['runNow', 'lane', 'edit', 'cancel'],
  processing: ['cancel'],
  completed: ['remove'],
  failed: ['retry', 'remove'],
  cancelled: ['retry', 'remove']
}

const actions: Readonly<Record<Exclude<Action, 'lane'>, { label: string, icon: IconName }>> = {
  runNow: { label: t.runNow, icon: 'bolt' },
  edit: { label: t.edit, icon: 'pen' },
  cancel: { label: common.cancel, icon: 'stop' },
  retry: { label: t.retry, icon: 'again' },
  remove: { label: common.delete, icon: 'bin' }
}

/**
 * @param props isPlaced: other controls move the job in its queue; onDone is called after a successful action
 */
export function JobActions ({ job, isPlaced = false, onDone }: {
  job: Pick<ListedJob, 'id' | 'status' | 'generation_params' | 'cancel_requested' | 'api_key_id' | 'background'>
  isPlaced?: boolean
  onDone: (action: Action) => void
}) {
  const mayChange = useMayChange()
  const openDialog = useOpenDialog()
  const [confirming, setConfirming] = useState(false)
  const prompt = job.generation_params.prompt || t.jobWithoutPrompt

  async function act (action: Exclude<Action, 'lane' | 'edit'>) {
    if (!await attempt(() => jobs[action](job.id))) return false
    onDone(action)
    return true
  }

  async function remove () {
    await act('remove')
    setConfirming(false)
  }

  /** The dialog is in front of the button. */
  async function open (action: 'edit' | 'remove') {
    if (action === 'remove') setConfirming(true)
    else openDialog(close => <EditJob id={job.id} onClose={close} onChanged={() => onDone('edit')} />)
    return false
  }

  if (!mayChange(job)) return null
  const name = prompt.slice(0, 80)
  return (
    <>
      {actionsOf[job.status].filter(action => action === 'runNow' ? !isPlaced : action !== 'edit' || !isEnlarging(job)).map(action => action === 'lane'
        ? <LaneSwitch key={action} job={job} name={name} onDone={() => onDone(action)} />
        : (
          <OnceButton
            key={action} class='button quiet' disabled={job.cancel_requested}
            aria-label={t.actionOf({ action: actions[action].label, name })}
            title={actions[action].label}
            act={async () => action === 'remove' || action === 'edit' ? await open(action) : await act(action)}
          >
            <Icon name={actions[action].icon} /><span class='word'>{actions[action].label}</span>
          </OnceButton>
          ))}
      {confirming && (
        <Confirm
          title={t.deleteThisJob} sentence={t.thisPermanentlyDeletesJob} action={common.delete}
          onConfirm={remove} onClose={() => setConfirming(false)}
        />
      )}
    </>
  )
}
