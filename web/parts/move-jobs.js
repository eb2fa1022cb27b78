import { useForm } from '../lib/form.js'
import { html } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'

/**
 * Asks which server gets waiting jobs.
 * @param {{ words: string, notice?: string, from: string, move: (alias: string) => Promise<void>,
 *   onClose: () => void }} props words: the number of jobs; notice: a change since the dialog opened; from: the alias
 *   of their present server, or empty; move closes the dialog after it moved them
 */
export function MoveJobs ({ words, notice = '', from, move, onClose }) {
  const { data: known } = useLive(signal => servers.list(signal), [], { interval: null })
  const others = known?.filter(({ alias }) => alias !== from).map(({ alias }) => ({ value: alias, label: alias })) ?? []
  const form = useForm({ server: '' })

  async function send ({ server }) {
    await move(server || others[0].value)
  }

  return html`
    <${Dialog} title="Move ${words}" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        ${notice !== '' && html`<p class="notice problem-notice" role="alert">${notice}</p>`}
        ${known !== undefined && others.length === 0
          ? html`<p>There is no other server.</p>`
          : html`<${SelectField} label="New server" ...${form.field('server')} value=${form.values.server || others[0]?.value} options=${others} />`}
        <p class="hint">They are sorted there by priority and time of arrival. Running jobs stay at their server.</p>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy || others.length === 0}>Move ${words}</button>
        </div>
      </form>
    <//>`
}
