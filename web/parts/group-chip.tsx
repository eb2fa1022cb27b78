import type { Group } from '../lib/api-types.ts'
import { useRights } from '../lib/caller.ts'
import { CountedAction } from './counted-action.tsx'
import { Dialog, useOpenDialog } from './dialog.tsx'
import { t } from '../texts/en/queue.ts'

/**
 * How far the group of a job is, and actions on the whole group.
 * @param props group: undefined where its counts are not known
 */
export function GroupChip ({ id, group, onChanged }: { id: string, group: Group | undefined, onChanged: () => void }) {
  const rights = useRights()
  const openDialog = useOpenDialog()
  const words = group === undefined
    ? t.group
    : t.endedOf({ ended: group.total - group.pending - group.processing, total: group.total })

  const open = () => openDialog(close => (
    <Dialog title={t.jobsThatBelongTogether} onClose={close}>
      {group !== undefined && <p>{sentenceOf(group)}</p>}
      {rights.submit_jobs && (
        <div class='actions'>
          {actions.filter(({ status }) => group?.[status] !== 0).map(({ status, action, ...words }) => (
            <CountedAction
              key={words.label} request={{ action, filter: { group: id, status } }} {...words}
              onDone={() => { close(); onChanged() }}
            />
          ))}
        </div>
      )}
    </Dialog>
  ))

  return (
    <button
      type='button' class='chip numbers' aria-label={group === undefined ? t.itsGroup : t.itsGroupEnded(words)}
      title={t.jobsThatBelongTogether} onClick={open}
    >{words}
    </button>
  )
}

const actions = [
  { status: 'pending', action: 'cancel', label: t.cancelThoseThatWait, icon: 'stop', question: t.cancelOfGroup, act: t.cancelOfGroupAction },
  {
    status: 'pending',
    action: 'background',
    label: t.moveWaitingToBackground,
    icon: 'toEnd',
    question: t.backgroundOfGroup,
    act: t.backgroundOfGroupAction
  },
  { status: 'failed', action: 'retry', label: t.retryThoseThatFailed, icon: 'again', question: t.retryOfGroup, act: t.retryOfGroupAction },
  { status: 'cancelled', action: 'retry', label: t.retryThoseThatWere, icon: 'again', question: t.retryOfGroup, act: t.retryOfGroupAction }
] as const

function sentenceOf ({ total, completed, processing, pending, failed, cancelled }: Group) {
  const parts = ([
    [completed, t.completedCount], [processing, t.runningCount], [pending, t.waitingCount], [failed, t.failedCount],
    [cancelled, t.cancelledCount]
  ] as const).filter(([count]) => count > 0).map(([count, words]) => words(count))
  return t.groupSummary({ total, parts })
}
