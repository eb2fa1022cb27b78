import type { Group } from '../lib/api-types.ts'
import { plural } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { CountedAction } from './counted-action.tsx'
import { Dialog } from './dialog.tsx'

/**
 * How far the group of a job is, and actions on the whole group.
 * @param props group: undefined where its counts are not known
 */
export function GroupChip ({ id, group, onChanged }: { id: string, group: Group | undefined, onChanged: () => void }) {
  const [isOpen, setOpen] = useState(false)
  const rights = useRights()
  const words = group === undefined ? 'group' : `${group.total - group.pending - group.processing} of ${group.total}`
  const changed = () => {
    setOpen(false)
    onChanged()
  }
  return (
    <>
      <button
        type='button' class='chip numbers' aria-label={group === undefined ? 'Its group' : `Its group: ${words} ended`}
        title='Jobs that belong together' onClick={() => setOpen(true)}
      >{words}
      </button>
      {isOpen && (
        <Dialog title='Jobs that belong together' onClose={() => setOpen(false)}>
          {group !== undefined && <p>{sentenceOf(group)}</p>}
          {rights.submit_jobs && (
            <div class='actions'>
              {group?.pending !== 0 && (
                <CountedAction
                  request={{ action: 'cancel', filter: { group: id, status: 'pending' } }} label='Cancel those that wait' icon='stop'
                  question={count => `Cancel ${count} of this group?`} onDone={changed}
                />
              )}
              {group?.failed !== 0 && (
                <CountedAction
                  request={{ action: 'retry', filter: { group: id, status: 'failed' } }} label='Retry those that failed' icon='again'
                  question={count => `Retry ${count} of this group?`} onDone={changed}
                />
              )}
              {group?.cancelled !== 0 && (
                <CountedAction
                  request={{ action: 'retry', filter: { group: id, status: 'cancelled' } }} label='Retry those that were cancelled' icon='again'
                  question={count => `Retry ${count} of this group?`} onDone={changed}
                />
              )}
            </div>
          )}
        </Dialog>
      )}
    </>
  )
}

function sentenceOf ({ total, completed, processing, pending, failed, cancelled }: Group) {
  const parts = ([[completed, 'done'], [processing, 'running'], [pending, 'waiting'], [failed, 'failed'], [cancelled, 'cancelled']] as const)
    .filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`)
  return `${plural(total, 'job')}: ${parts.join(', ')}.`
}
