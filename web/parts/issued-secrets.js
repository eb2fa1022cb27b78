import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { CopyButton } from './copy-button.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'

const gracePeriods = [
  { value: '24', label: 'for 24 more hours' }, { value: '168', label: 'for 7 more days' }, { value: '0', label: 'no longer' }
]

/**
 * Shows new secrets, for the only time.
 * @param {{ secrets: Array<{ label: string, what: string, value: string }>, onClose: () => void }} props label is the
 *   name for programs, what the name for people
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
 * Replaces a secret and shows the new one; the former one stays valid for a while.
 * @param {{ title: string, label: string, replace: (graceHours: number) => Promise<Array<object>>,
 *   onClose: () => void }} props label: text beside that time; replace returns the secrets to show
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
        <${SelectField} label=${label} ...${form.field('grace_hours')} options=${gracePeriods} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Create new secret</button>
        </div>
      </form>
    <//>`
}
