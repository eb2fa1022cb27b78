import type { JobAction, JobStatus } from '../lib/api-types.ts'
import { ApiError } from '../lib/api.ts'
import type { Selection } from '../lib/selection.ts'
import type { JobFilter } from '../lib/pages-of-jobs.ts'
import { useState } from 'preact/hooks'
import { complain, say } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Confirm, onDemand } from './dialog.tsx'
import { Icon, type IconName } from './icon.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

const MoveJobs = onDemand(async () => (await import('./move-jobs.tsx')).MoveJobs)

type Action = JobAction['action']
type Counted = Required<Pick<JobAction, 'expected' | 'created_before'>>

/** Actions for several jobs, by the state that they share; an empty state means any. */
const actionsOf: Readonly<Record<JobStatus | '', readonly Action[]>> = {
  '': ['cancel', 'retry', 'delete'],
  pending: ['run-now', 'background', 'foreground', 'move', 'cancel', 'delete'],
  processing: ['cancel'],
  completed: ['delete'],
  failed: ['retry', 'delete'],
  cancelled: ['retry', 'delete']
}

const actions: Readonly<Record<Action, {
  label: string
  icon: IconName
  question?: (count: string) => string
  act?: (count: string) => string
  sentence?: string
}>> = {
  'run-now': { label: t.runNow, icon: 'bolt' },
  background: { label: t.toBackground, icon: 'moon' },
  foreground: { label: t.bringBack, icon: 'sun' },
  move: { label: t.move, icon: 'server' },
  cancel: { label: common.cancel, icon: 'stop', question: t.cancelCount, act: t.cancelJobs, sentence: t.runningJobsAreStopped },
  retry: { label: t.retry, icon: 'again' },
  delete: { label: common.delete, icon: 'bin', question: t.deleteCount, act: t.deleteJobs, sentence: t.thisPermanentlyDeletesJobs }
}

/**
 * Actions for the selected jobs. A dialog counts them first; the action then affects exactly these jobs.
 * @param props asOf: the time of `total` by the service's clock
 */
export function SelectionBar ({ selection, total, asOf, filter, onDone }: {
  selection: Selection
  total: number
  asOf: string
  filter: JobFilter
  onDone: () => void
}) {
  /** The action of the open dialog, its number of jobs, and a notice; null if none is open. */
  const [asking, setAsking] = useState<{ action: Action, counted: Partial<Counted>, notice: string } | null>(null)
  const [busy, setBusy] = useState(false)
  const chosen = selection.all ? total : selection.ids.size
  if (chosen === 0) return null

  function which () {
    if (!selection.all) return { ids: [...selection.ids] }
    const { status, server, search } = filter
    const fitting = Object.fromEntries(Object.entries({ status, server, search }).filter(([, value]) => value !== ''))
    return Object.keys(fitting).length === 0 ? { all: true } : { filter: fitting }
  }

  function finish () {
    setAsking(null)
    selection.clear()
    onDone()
  }

  async function ask (action: Action, notice = '') {
    const counted = await jobs.count({ action, ...which() })
    setAsking({ action, counted, notice })
  }

  /** If more jobs match than the dialog said, it asks again with the new number. */
  async function act (action: Action, counted: Partial<Counted>, more: { server?: string } = {}) {
    try {
      say((await jobs.act({ action, ...which(), ...counted, ...more })).message)
      finish()
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'more_than_expected') throw error
      if (!asks(action)) {
        onDone()
        throw new Error(t.moreJobsMatchBy)
      }
      await ask(action, t.moreJobsMatchBy)
    }
  }

  async function attempt (work: () => Promise<void>) {
    setBusy(true)
    await work().catch(complain)
    setBusy(false)
  }

  const begin = (action: Action) => attempt(() => asks(action)
    ? ask(action)
    : act(action, selection.all ? { expected: total, created_before: asOf } : { expected: chosen }))
  const words = t.jobsExpected(asking?.counted.expected ?? chosen)
  const question = asking === null ? undefined : actions[asking.action]
  return (
    <div class='selection' role='region' aria-label={t.chosenJobs}>
      <p>{t.jobsChosen({ count: chosen, strong: words => <strong class='numbers'>{words}</strong> })}</p>
      <div class='actions'>
        {!selection.all && total > selection.ids.size && <button type='button' class='button quiet' onClick={selection.chooseAll}>{t.chooseAll(total)}</button>}
        {actionsOf[filter.status].map(action => (
          <button key={action} type='button' class='button' disabled={busy} onClick={() => begin(action)}>
            <Icon name={actions[action].icon} />{actions[action].label}
          </button>
        ))}
        <button
          type='button' class='button quiet icon-only' aria-label={t.chooseNone}
          title={t.chooseNone} onClick={selection.clear}
        >
          <Icon name='close' />
        </button>
      </div>
      {asking?.action === 'move' && (
        <MoveJobs
          words={words} notice={asking.notice} from={filter.server} move={server => act('move', asking.counted, { server })}
          onClose={() => setAsking(null)}
        />
      )}
      {asking !== null && question?.question !== undefined && (
        <Confirm
          title={question.question(words)} sentence={question.sentence ?? ''} notice={asking.notice}
          action={question.act?.(words) ?? question.label}
          onConfirm={() => attempt(() => act(asking.action, asking.counted))}
          onClose={() => setAsking(null)}
        />
      )}
    </div>
  )
}

function asks (action: Action) {
  return action === 'move' || actions[action].question !== undefined
}
