import { html } from '../lib/html.js'
import { attempt } from '../lib/messages.js'
import { jobs } from '../lib/service.js'
import { Icon } from './icon.js'

const priorities = Array.from({ length: 10 }, (_, index) => 10 - index)

/**
 * Moves a waiting job within its queue.
 * @param {{ job: object, before: object | undefined, after: object | undefined, onChanged: () => void }} props
 *   before and after: the neighbouring jobs
 */
export function PlaceControls ({ job, before, after, onChanged }) {
  const name = (job.generation_params.prompt || 'job without a prompt').slice(0, 80)

  async function change (id, request) {
    if (await attempt(() => jobs.change(id, request))) onChanged()
  }

  return html`
    <select class="small" aria-label="Priority: ${name}" title="Priority, 10 first" value=${String(job.priority)}
      onChange=${event => change(job.id, { priority: Number(event.currentTarget.value) })}>
      ${priorities.map(each => html`<option key=${each} value=${each} selected=${each === job.priority}>${each}</option>`)}
    </select>
    <button type="button" class="button quiet icon-only" disabled=${before === undefined} title="Move up"
      aria-label="Move up: ${name}" onClick=${() => change(job.id, { before: before.id })}><${Icon} name="up" /></button>
    <button type="button" class="button quiet icon-only" disabled=${after === undefined} title="Move down"
      aria-label="Move down: ${name}" onClick=${() => change(after.id, { before: job.id })}><${Icon} name="down" /></button>`
}
