import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { CopyButton } from './copy-button.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'

const graces = [
  { value: '24', label: 'for 24 more hours' }, { value: '168', label: 'for 7 more days' }, { value: '0', label: 'no longer' }
]

/**
 * The one moment in which secrets can be seen.
 * @param {{ secrets: Array<{ label: string, what: string, value: string }>, onClose: () => void }} props label names it
 *   for programs, what for people
 */
export function IssuedSecrets ({ secrets, onClose }) {
  return html`
    <${Dialog} key="issued" title="Save this secret now" onClose=${onClose}>
      <p>It is shown only here.</p>
      <dl class="facts-list secret">
        ${secrets.map(({ label, value }) => html`<div key=${label}><dt>${label}</dt><dd><code>${value}</code></dd></div>`)}
      </dl>
      <div class="dialog-actions">
        ${secrets.map(({ what, value }) => html`
          <${CopyButton} key=${what} label="Copy ${what}" what="The ${what} was" text=${value} />`)}
        <button type="button" class="button primary" onClick=${onClose}>I have saved it</button>
      </div>
    <//>`
}

/**
 * Makes a new secret in place of one in use, which goes on working for a while, and shows it.
 * @param {{ title: string, label: string, replace: (graceHours: number) => Promise<Array<object>>,
 *   onClose: () => void }} props label leads to how long the former one works; replace gives what is shown
 */
export function ReplaceSecret ({ title, label, replace, onClose }) {
  const form = useForm({ grace_hours: '24' })
  const [issued, setIssued] = useState(null)
  if (issued !== null) return html`<${IssuedSecrets} secrets=${issued} onClose=${onClose} />`
  const send = async ({ grace_hours: hours }) => setIssued(await replace(Number(hours)))
  return html`
    <${Dialog} key="form" title=${title} onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${SelectField} label=${label} ...${form.field('grace_hours')} options=${graces} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Create new secret</button>
        </div>
      </form>
    <//>`
}
