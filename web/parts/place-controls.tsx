import type { JobPatch, ListedJob } from '../lib/api-types.ts'
import { dragRow, type Drop } from '../lib/drag.ts'
import { followJob } from '../lib/follow-row.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/queue.ts'

const priorities = Array.from({ length: 10 }, (_, index) => 10 - index)

type Place = 'priority' | 'up' | 'down' | 'first' | 'last'

const nameOf = ({ generation_params: { prompt } }: ListedJob) => (prompt || t.jobWithoutPrompt).slice(0, 80)

/** A place for mouse and finger to move a waiting job; the keyboard has the buttons. */
export function DragHandle ({ job, onChanged }: { job: ListedJob, onChanged: () => void }) {
  async function drop ({ id, side, lane }: Drop) {
    const background = lane === 'background'
    const done = await attempt(async () => {
      const answer = await jobs.change(job.id, { before: id, ...background !== job.background && { background } })
      return side === 'before' ? answer : await jobs.change(id, { before: job.id })
    }, t.jobWasMoved)
    if (done) onChanged()
  }
  return (
    <span
      class='handle' aria-hidden='true' title={t.dragToMove} data-drag={job.id}
      data-lane={job.background ? 'background' : ''}
      onPointerDown={event => dragRow(event, job.id, drop)}
    ><Icon name='grip' />
    </span>
  )
}

/**
 * Moves a waiting job within its queue.
 *   before and after: the neighbouring jobs
 */
export function PlaceControls ({ job, before, after, onChanged }: {
  job: ListedJob
  before: ListedJob | undefined
  after: ListedJob | undefined
  onChanged: () => void
}) {
  const name = nameOf(job)
  /** The neighbours in the same lane. */
  const [above, below] = [before, after].map(other => other?.background === job.background ? other : undefined)

  async function change (id: string, request: JobPatch, place: Place, detail = 0) {
    if (!await attempt(() => jobs.change(id, request))) return
    onChanged()
    // Keys take the page along, and the mouse stays at the next row. A click by a key has no detail.
    followJob(job.id, place, detail === 0 && (place === 'first' || place === 'last') ? place : undefined)
  }

  const button = (place: Place, label: string, keys: string, request: JobPatch | undefined, of = job.id) => (
    <button
      type='button' class='button quiet icon-only' disabled={request === undefined} title={t.withKeys({ label, keys })}
      data-of={job.id} data-place={place} data-beside={(place === 'up' ? above : below)?.id}
      aria-label={t.actionOf({ action: label, name })}
      onClick={event => request && change(of, request, place, event.detail)}
    ><Icon name={iconOf[place]} />
    </button>
  )

  return (
    <>
      <select
        class='small' aria-label={t.priorityName(name)} title={t.priorityHint} value={String(job.priority)}
        data-of={job.id} data-place='priority'
        onChange={event => change(job.id, { priority: Number(event.currentTarget.value) }, 'priority')}
      >
        {priorities.map(each => <option key={each} value={each} selected={each === job.priority}>{each}</option>)}
      </select>
      {button('up', t.moveUp, t.altUp, above && { before: above.id })}
      {button('down', t.moveDown, t.altDown, below && { before: job.id }, below?.id)}
      {button('first', t.runNow, t.toTopAltShift, { place: 'first', ...job.background && { background: false } })}
      {button('last', t.moveToEnd, t.altShiftDown, { place: 'last' })}
    </>
  )
}

const iconOf = { priority: 'queue', up: 'up', down: 'down', first: 'bolt', last: 'toEnd' } as const
