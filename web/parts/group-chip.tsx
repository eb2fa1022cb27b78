import type { Group, ListedJob } from '../lib/api-types.ts'
import { useRights } from '../lib/caller.ts'
import { CountedAction } from './counted-action.tsx'
import { Dialog, useOpenDialog } from './dialog.tsx'
import { t } from '../texts/en/queue.ts'

/**
 * How far the group of a job is, and actions on the whole group: those that wait go where this job is not, to the
 * background or back.
 * @param props group: undefined where its counts are not known
 */
export function GroupChip ({ id, job: { status, background }, group, onChanged }: {
  id: string
  job: Pick<ListedJob, 'status' | 'background'>
  group: Group | undefined
  onChanged: () => void
}) {
  const rights = useRights()
  const openDialog = useOpenDialog()
  const words = group === undefined
    ? t.group
    : t.endedOf({ ended: group.total - group.pending - group.processing, total: group.total })

  const lane = status === 'pending' && background ? 'foreground' : 'background'
  const actions = [cancelling, lanes[lane], ...retries]

  const open = () => openDialog(close => (
    <Dialog title={t.jobsThatBelongTogether} onClose={close}>
      {group !== undefined && <p>{sentenceOf(group)}</p>}
      {rights.submit_jobs && (
        <div class='actions'>
          {actions.filter(({ filter: { status } }) => group?.[status] !== 0).map(({ filter, action, ...words }) => (
            <CountedAction
              key={words.label} request={{ action, filter: { group: id, ...filter } }} {...words}
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

const cancelling = {
  filter: { status: 'pending' },
  action: 'cancel',
  label: t.cancelThoseThatWait,
  icon: 'stop',
  question: t.cancelOfGroup,
  act: t.cancelOfGroupAction
} as const

const lanes = {
  background: {
    filter: { status: 'pending', background: false },
    action: 'background',
    label: t.moveWaitingToBackground,
    icon: 'moon',
    question: t.backgroundOfGroup,
    act: t.backgroundOfGroupAction
  },
  foreground: {
    filter: { status: 'pending', background: true },
    action: 'foreground',
    label: t.bringWaitingBack,
    icon: 'sun',
    question: t.foregroundOfGroup,
    act: t.foregroundOfGroupAction
  }
} as const

const retries = [
  { filter: { status: 'failed' }, action: 'retry', label: t.retryThoseThatFailed, icon: 'again', question: t.retryOfGroup, act: t.retryOfGroupAction },
  { filter: { status: 'cancelled' }, action: 'retry', label: t.retryThoseThatWere, icon: 'again', question: t.retryOfGroup, act: t.retryOfGroupAction }
] as const

function sentenceOf ({ total, completed, processing, pending, failed, cancelled }: Group) {
  const parts = ([
    [completed, t.completedCount], [processing, t.runningCount], [pending, t.waitingCount], [failed, t.failedCount],
    [cancelled, t.cancelledCount]
  ] as const).filter(([count]) => count > 0).map(([count, words]) => words(count))
  return t.groupSummary({ total, parts })
}
