import type { JobPatch, ListedJob } from '../lib/api-types.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'

const priorities = Array.from({ length: 10 }, (_, index) => 10 - index)

type Place = 'priority' | 'up' | 'down'

/** How long the focus follows a moved job, in milliseconds. */
const followed = 2000

/** Keeps the focus on the controls of a job that moves to another row. */
function followJob (id: string, place: Place) {
  const until = Date.now() + followed
  const stop = new AbortController()
  const end = () => stop.abort()
  for (const kind of ['pointerdown', 'keydown', 'wheel', 'touchstart', 'scroll']) window.addEventListener(kind, end, stop)
  function look () {
    const active = document.activeElement
    const isFree = active === document.body || (active instanceof HTMLElement && active.dataset.of !== undefined)
    if (stop.signal.aborted || !isFree || Date.now() > until) return end()
    const [own] = [place, 'up', 'down'].flatMap(name =>
      document.querySelector<HTMLElement>(`[data-of="${id}"][data-place="${name}"]:not(:disabled)`) ?? [])
    if (own !== undefined && own !== active) own.focus({ preventScroll: true })
    window.requestAnimationFrame(look)
  }
  look()
}

/** Alt and an arrow key move the job of the row that has the focus. */
export function moveByKey (event: KeyboardEvent) {
  const place = event.key === 'ArrowUp' ? 'up' : event.key === 'ArrowDown' ? 'down' : undefined
  if (!event.altKey || place === undefined || !(event.target instanceof Element)) return
  event.preventDefault()
  event.target.closest('li')?.querySelector<HTMLElement>(`[data-place="${place}"]`)?.click()
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
  const name = (job.generation_params.prompt || 'job without a prompt').slice(0, 80)

  async function change (id: string, request: JobPatch, place: Place) {
    if (!await attempt(() => jobs.change(id, request))) return
    onChanged()
    followJob(job.id, place)
  }
  const mark = (place: Place) => ({ 'data-of': job.id, 'data-place': place })

  return (
    <>
      <select
        class='small' aria-label={`Priority: ${name}`} title='Priority, 10 first' value={String(job.priority)}
        {...mark('priority')}
        onChange={event => change(job.id, { priority: Number(event.currentTarget.value) }, 'priority')}
      >
        {priorities.map(each => <option key={each} value={each} selected={each === job.priority}>{each}</option>)}
      </select>
      <button
        type='button' class='button quiet icon-only' disabled={before === undefined} title='Move up (Alt + ↑)' {...mark('up')}
        aria-label={`Move up: ${name}`} onClick={() => before && change(job.id, { before: before.id }, 'up')}
      ><Icon name='up' />
      </button>
      <button
        type='button' class='button quiet icon-only' disabled={after === undefined} title='Move down (Alt + ↓)' {...mark('down')}
        aria-label={`Move down: ${name}`} onClick={() => after && change(after.id, { before: job.id }, 'down')}
      ><Icon name='down' />
      </button>
    </>
  )
}
