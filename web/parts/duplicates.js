import { sentenceOf } from '../lib/api.js'
import { bytesText, plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { attempt } from '../lib/messages.js'
import { models } from '../lib/model-service.js'
import { Dialog } from './dialog.js'
import { Loading } from './page-head.js'

/** Texts and tags that people added to a group's files. */
function wordsOf ({ notes, description, trigger_words: words, recommended_weight: weight }) {
  return [['Notes', notes], ['Description', description], ['Trigger words', words.join(', ')], ['Weight', weight]]
    .filter(([, text]) => text !== null && text !== '')
}

/** Files with equal content; deletes all but one of each group. */
export function Duplicates ({ onClose, onChanged }) {
  const { data, error, reload } = useLive(signal => models.duplicates(signal), [], { interval: null })
  const [chosen, setChosen] = useState(new Set())
  const [isSure, setSure] = useState(false)
  const [busy, setBusy] = useState(false)
  const groups = data?.groups ?? []
  const copies = groups.filter(({ hash }) => chosen.has(hash)).reduce((sum, { files }) => sum + files.length - 1, 0)

  function toggle (hash) {
    const next = new Set(chosen)
    if (!next.delete(hash)) next.add(hash)
    setChosen(next)
    setSure(false)
  }

  async function remove () {
    setBusy(true)
    await attempt(() => models.removeDuplicates([...chosen], copies))
    setBusy(false)
    setChosen(new Set())
    setSure(false)
    reload()
    onChanged()
  }

  return html`
    <${Dialog} title="Equal model files" onClose=${onClose}>
      ${data === undefined && html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`}
      ${data !== undefined && groups.length === 0 && html`<p class="empty">No two files with a known hash are equal.</p>`}
      ${groups.length > 0 && html`
        <p>${plural(data.count, 'file')} could go, which would free ${bytesText(data.bytes)}. One of each stays, with what people wrote beside all of them. Before anything is deleted, all are hashed once more.</p>
        <ul class="plain-rows">
          ${groups.map(({ hash, files, written }) => html`
            <li key=${hash}>
              <label class="duplicate">
                <input type="checkbox" checked=${chosen.has(hash)} onChange=${() => toggle(hash)} />
                <span>${files.map(file => html`
                  <span key=${`${file.folder}/${file.path}`} class="duplicate-file">${file.folder}/${file.path} ${file.keep && html`<span class="status good">stays</span>`}</span>`)}
                  ${wordsOf(written).map(([label, text]) => html`<span key=${label} class="duplicate-file">${label}: ${text}</span>`)}</span>
              </label>
            </li>`)}
        </ul>`}
      ${isSure && html`<p class="notice problem-notice" role="alert">${plural(copies, 'file')} will be permanently deleted from disk.</p>`}
      <div class="dialog-actions">
        ${groups.length > 0 && chosen.size < groups.length && html`
          <button type="button" class="button quiet" onClick=${() => setChosen(new Set(groups.map(({ hash }) => hash)))}>Choose all</button>`}
        <button type="button" class="button" onClick=${onClose}>Close</button>
        ${chosen.size > 0 && html`
          <button type="button" class="button danger" disabled=${busy} onClick=${isSure ? remove : () => setSure(true)}>
            ${busy ? 'Deleting…' : isSure ? 'Delete them now' : `Delete ${plural(copies, 'copy', 'copies')}`}
          </button>`}
      </div>
    <//>`
}
