import { sentenceOf } from '../lib/api.js'
import { html, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { models } from '../lib/model-service.js'
import { Dialog } from './dialog.js'
import { Icon } from './icon.js'
import { Loading } from './page-head.js'

const mostShown = 200

/**
 * Cards of a server's models, or of all models if the alias is empty.
 * @param {{ type: string, title: string, server: string, onPick: (model: object, title: string) => void,
 *   onClose: () => void }} props onPick also gets the server's own name of the model
 */
export function ModelPicker ({ type, title, server, onPick, onClose }) {
  const [typed, setTyped] = useState('')
  const search = typed.trim()
  const { data, error } = useLive(signal => models.list({ type, server, search, limit: mostShown }, signal),
    [type, server, search], { interval: null })
  const found = data?.models.filter(model => model.servers.length > 0) ?? []
  return html`
    <${Dialog} title=${title} onClose=${onClose} wide>
      <input type="search" aria-label="Search models" placeholder="Search by name, tag or trigger word" value=${typed} autofocus
        onInput=${event => setTyped(event.currentTarget.value)} />
      ${data === undefined && html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`}
      ${data !== undefined && found.length === 0 && html`<p class="empty">${typed === '' ? 'The servers have none.' : 'No model matches.'}</p>`}
      <ul class="model-cards">
        ${found.map(model => html`<li key=${model.id}><${ModelCard} model=${model} server=${server} onPick=${onPick} /></li>`)}
      </ul>
      ${data?.total > mostShown && html`<p class="hint">The first ${mostShown} of ${data.total}; search for the others.</p>`}
    <//>`
}

function ModelCard ({ model, server, onPick }) {
  const [hidden, setHidden] = useState(model.civitai_nsfw)
  const { title } = model.servers.find(({ alias }) => alias === server) ?? model.servers[0]
  return html`
    <button type="button" class="model-card" onClick=${() => onPick(model, title)}>
      <span class="model-picture">
        ${model.preview_url !== null && !hidden
          ? html`<img src=${model.preview_url} alt="" loading="lazy" decoding="async" onError=${() => setHidden(true)} />`
          : html`<${Icon} name="models" />`}
      </span>
      <span class="model-name">${model.name}</span>
      <span class="hint">${[model.base_model, model.trigger_words.slice(0, 3).join(', ')].filter(Boolean).join(' · ') || title}</span>
    </button>`
}
