import { bytesText } from '../lib/format.js'
import { useForm } from '../lib/form.js'
import { html, useEffect, useRef } from '../lib/html.js'
import { aboutDownloads, seldom, useLive } from '../lib/live.js'
import { attempt, say } from '../lib/messages.js'
import { downloadOf, downloads } from '../lib/model-service.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField, TextField } from './field.js'
import { Icon } from './icon.js'
import { modelTypes } from './model-preview.js'

const active = ['pending', 'downloading']
const states = {
  pending: ['Waiting', 'still'], downloading: ['Downloading', 'active'], completed: ['Done', 'good'], failed: ['Failed', 'bad'], cancelled: ['Cancelled', 'still']
}
const mostShown = 8

/** Downloads from Civitai and HuggingFace. */
export function Downloads ({ isAsking, onAsked, onChanged }) {
  const { data: all, reload } = useLive(signal => downloads.list(signal), [], {
    interval: seldom, about: aboutDownloads
  })
  const running = all?.filter(({ status }) => active.includes(status)).length ?? 0
  const before = useRef(0)

  useEffect(() => {
    if (running < before.current) onChanged()
    before.current = running
  }, [running])

  const act = async (how, sentence) => {
    await attempt(how, sentence)
    reload()
  }
  return html`
    ${all?.length > 0 && html`
      <section class="card" aria-labelledby="downloads">
        <h2 id="downloads">Downloads</h2>
        <ul class="plain-rows">
          ${all.slice(0, Math.max(mostShown, running)).map(download => html`<${Download} key=${download.id} download=${download} act=${act} />`)}
        </ul>
      </section>`}
    ${isAsking && html`<${StartDownload} onClose=${onAsked} onStarted=${reload} />`}`
}

function Download ({ download, act }) {
  const { id, status, target_filename: name, model_name: model } = download
  const { bytes_received: received, bytes_total: total } = download
  const [word, tone] = states[status] ?? [status, 'still']
  return html`
    <li>
      <div class="download-text">
        <p><strong>${name}</strong> <span class="status ${tone}">${word}</span></p>
        <p class="hint">${[model, download.source === 'civitai' ? 'Civitai' : 'HuggingFace', total === null ? '' : bytesText(total)].filter(Boolean).join(' · ')}</p>
        ${status === 'downloading' && html`
          <div class="progress">
            <progress aria-label="Progress of ${name}" max="100" value=${total === null ? undefined : download.progress}></progress>
            <span class="numbers">${bytesText(received)}${total === null ? '' : `, ${Math.floor(download.progress)} %`}</span>
          </div>`}
        ${download.error_message && html`<p class="problem">${download.error_message}</p>`}
      </div>
      ${active.includes(status) && html`
        <button type="button" class="button" aria-label="Cancel ${name}" onClick=${() => act(() => downloads.cancel(id))}><${Icon} name="stop" />Cancel</button>`}
      ${['failed', 'cancelled'].includes(status) && html`
        <button type="button" class="button" aria-label="Retry ${name}" onClick=${() => act(() => downloads.retry(id))}><${Icon} name="again" />Retry</button>`}
    </li>`
}

const types = [{ value: '', label: 'As at the source' }, ...Object.entries(modelTypes).map(([value, label]) => ({ value, label }))]

function StartDownload ({ onClose, onStarted }) {
  const form = useForm({ source: '', type: '', filename: '' })

  async function send ({ source, type, filename }) {
    const found = downloadOf(source)
    const chosen = Object.fromEntries(Object.entries({ type, filename: filename.trim() }).filter(([, value]) => value !== ''))
    // The service gets any other text unchanged, so that its error says what would be right.
    const { message } = await downloads.start({ ...(Object.keys(found).length > 0 ? found : { source }), ...chosen })
    say(message)
    onStarted()
    onClose()
  }

  return html`
    <${Dialog} title="Download a model" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextField} label="Address or id" ...${form.field('source')} autocomplete="off" autocapitalize="none" spellcheck=${false} autofocus
          hint="A version at Civitai (its address with modelVersionId, or the number alone), or a file at HuggingFace." />
        <${SelectField} label="Type" ...${form.field('type')} options=${types} />
        <${TextField} label="File name" hint="Empty: its name at the source." ...${form.field('filename')} autocomplete="off" />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>${form.busy ? 'Asking…' : 'Download'}</button>
        </div>
      </form>
    <//>`
}
