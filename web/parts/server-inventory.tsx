import type { Inventory } from '../lib/api-types.ts'
import type { Server } from '../lib/api-types.ts'
import { ago, plural } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { Loading } from './page-head.tsx'

const lists: Readonly<Partial<Record<Exclude<keyof Inventory, 'server' | 'read_at' | 'not_offered'>, string>>> = {
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
export function ServerInventory ({ server: { alias }, onClose }: { server: Server, onClose: () => void }) {
  const { data, error } = useLive(signal => servers.inventory(alias, signal), [alias], { interval: null })
  const [typed, setTyped] = useState('')
  const wanted = typed.trim().toLowerCase()
  return (
    <Dialog title={`Inventory of ${alias}`} onClose={onClose}>
      {data === undefined && <Loading error={error} />}
      {data !== undefined && (
        <>
          <p class='hint'>{data.read_at === null ? 'It has not been read yet.' : `Read ${ago(data.read_at)}.`}</p>
          <input
            type='search' aria-label='Search' placeholder='Search' value={typed}
            onInput={event => setTyped(event.currentTarget.value)}
          />
          <div class='inventory'>
            {Object.entries(lists).map(([name, title]) => (
              <List
                key={name} title={title} wanted={wanted} isOffered={!data.not_offered.includes(name)}
                names={namesOf(data, name)}
              />
            ))}
          </div>
        </>
      )}
    </Dialog>
  )
}

function namesOf (inventory: Inventory, list: string) {
  const entries: unknown = Reflect.get(inventory, list)
  if (list === 'checkpoints') return inventory.checkpoints.map(({ title }) => title)
  return Array.isArray(entries) ? entries.map(String) : []
}

function List ({ title, names, wanted, isOffered }: {
  title: string
  names: readonly string[]
  wanted: string
  isOffered: boolean
}) {
  const found = names.filter(name => name.toLowerCase().includes(wanted))
  if (found.length === 0) return wanted === '' && <p class='hint'>{title}: {isOffered ? 'none' : 'not offered by this kind of server'}</p>
  return (
    <details open={wanted !== ''}>
      <summary>{title} <span class='count numbers'>{found.length === names.length ? names.length : `${found.length} of ${plural(names.length, 'entry', 'entries')}`}</span></summary>
      <ul>{found.map(name => <li key={name}><code>{name}</code></li>)}</ul>
    </details>
  )
}
