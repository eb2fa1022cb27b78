import type { JobPatch, ListedJob } from '../lib/api-types.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'

const priorities = Array.from({ length: 10 }, (_, index) => 10 - index)

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

  async function change (id: string, request: JobPatch) {
    if (await attempt(() => jobs.change(id, request))) onChanged()
  }

  return (
    <>
      <select
        class='small' aria-label={`Priority: ${name}`} title='Priority, 10 first' value={String(job.priority)}
        onChange={event => change(job.id, { priority: Number(event.currentTarget.value) })}
      >
        {priorities.map(each => <option key={each} value={each} selected={each === job.priority}>{each}</option>)}
      </select>
      <button
        type='button' class='button quiet icon-only' disabled={before === undefined} title='Move up'
        aria-label={`Move up: ${name}`} onClick={() => before && change(job.id, { before: before.id })}
      ><Icon name='up' />
      </button>
      <button
        type='button' class='button quiet icon-only' disabled={after === undefined} title='Move down'
        aria-label={`Move down: ${name}`} onClick={() => after && change(after.id, { before: job.id })}
      ><Icon name='down' />
      </button>
    </>
  )
}
