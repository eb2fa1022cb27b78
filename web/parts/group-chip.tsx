import type { Group } from '../lib/api-types.ts'
import { plural } from '../lib/format.ts'
import { useRights } from '../lib/caller.ts'
import { CountedAction } from './counted-action.tsx'
import { Dialog, useOpenDialog } from './dialog.tsx'

/**
 * How far the group of a job is, and actions on the whole group.
 * @param props group: undefined where its counts are not known
 */
export function GroupChip ({ id, group, onChanged }: { id: string, group: Group | undefined, onChanged: () => void }) {
  const rights = useRights()
  const openDialog = useOpenDialog()
  const words = group === undefined ? 'group' : `${group.total - group.pending - group.processing} of ${group.total}`

  const open = () => openDialog(close => (
    <Dialog title='Jobs that belong together' onClose={close}>
      {group !== undefined && <p>{sentenceOf(group)}</p>}
      {rights.submit_jobs && (
        <div class='actions'>
          {actions.filter(({ status }) => group?.[status] !== 0).map(({ status, action, label, icon, verb }) => (
            <CountedAction
              key={status} request={{ action, filter: { group: id, status } }} label={label} icon={icon}
              question={count => `${verb} ${count} of this group?`} onDone={() => { close(); onChanged() }}
            />
          ))}
        </div>
      )}
    </Dialog>
  ))

  return (
    <button
      type='button' class='chip numbers' aria-label={group === undefined ? 'Its group' : `Its group: ${words} ended`}
      title='Jobs that belong together' onClick={open}
    >{words}
    </button>
  )
}

const actions = [
  { status: 'pending', action: 'cancel', label: 'Cancel those that wait', icon: 'stop', verb: 'Cancel' },
  { status: 'failed', action: 'retry', label: 'Retry those that failed', icon: 'again', verb: 'Retry' },
  { status: 'cancelled', action: 'retry', label: 'Retry those that were cancelled', icon: 'again', verb: 'Retry' }
] as const

function sentenceOf ({ total, completed, processing, pending, failed, cancelled }: Group) {
  const parts = ([[completed, 'done'], [processing, 'running'], [pending, 'waiting'], [failed, 'failed'], [cancelled, 'cancelled']] as const)
    .filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`)
  return `${plural(total, 'job')}: ${parts.join(', ')}.`
}
