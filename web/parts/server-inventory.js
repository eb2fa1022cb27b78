import { sentenceOf } from '../lib/api.js'
import { ago, plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { Loading } from './page-head.js'

const lists = {
  checkpoints: 'Checkpoints',
  loras: 'LoRAs',
  vaes: 'VAEs',
  embeddings: 'Embeddings',
  samplers: 'Samplers',
  schedulers: 'Schedulers',
  upscalers: 'Upscalers',
  latent_upscale_modes: 'Latent upscale modes',
  controlnet_models: 'ControlNet models',
  controlnet_modules: 'ControlNet modules',
  scripts: 'Scripts',
  styles: 'Styles'
}

/** The inventory of a server at its last reading. */
export function ServerInventory ({ server: { alias }, onClose }) {
  const { data, error } = useLive(signal => servers.inventory(alias, signal), [alias], { interval: null })
  const [typed, setTyped] = useState('')
  const wanted = typed.trim().toLowerCase()
  return html`
    <${Dialog} title="Inventory of ${alias}" onClose=${onClose}>
      ${data === undefined && html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`}
      ${data !== undefined && html`
        <p class="hint">${data.read_at === null ? 'It has not been read yet.' : `Read ${ago(data.read_at)}.`}</p>
        <input type="search" aria-label="Search" placeholder="Search" value=${typed} onInput=${event => setTyped(event.currentTarget.value)} />
        <div class="inventory">
          ${Object.entries(lists).map(([name, title]) => html`
            <${List} key=${name} title=${title} wanted=${wanted} isOffered=${!data.not_offered.includes(name)}
              names=${data[name].map(entry => entry.title ?? entry)} />`)}
        </div>`}
    <//>`
}

function List ({ title, names, wanted, isOffered }) {
  const found = names.filter(name => name.toLowerCase().includes(wanted))
  if (found.length === 0) return wanted === '' && html`<p class="hint">${title}: ${isOffered ? 'none' : 'not offered by this kind of server'}</p>`
  return html`
    <details open=${wanted !== ''}>
      <summary>${title} <span class="count numbers">${found.length === names.length ? names.length : `${found.length} of ${plural(names.length, 'entry', 'entries')}`}</span></summary>
      <ul>${found.map(name => html`<li key=${name}><code>${name}</code></li>`)}</ul>
    </details>`
}
