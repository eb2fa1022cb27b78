import type { Inventory } from '../lib/api-types.ts'
import type { Server } from '../lib/api-types.ts'
import { ago } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { Loading } from './page-head.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

const lists: Readonly<Partial<Record<Exclude<keyof Inventory, 'server' | 'read_at' | 'not_offered'>, string>>> = {
  checkpoints: t.checkpoints,
  loras: common.loras,
  vaes: t.vaes,
  embeddings: t.embeddings,
  samplers: t.samplers,
  schedulers: t.schedulers,
  upscalers: t.upscalers,
  latent_upscale_modes: t.latentUpscaleModes,
  controlnet_models: t.controlNetModels,
  controlnet_modules: t.controlNetModules,
  scripts: t.scripts,
  styles: t.styles
}

/** The inventory of a server at its last reading. */
export function ServerInventory ({ server: { alias }, onClose }: { server: Server, onClose: () => void }) {
  const { data, error } = useLive(signal => servers.inventory(alias, signal), [alias], { interval: null })
  const [typed, setTyped] = useState('')
  const wanted = typed.trim().toLowerCase()
  return (
    <Dialog title={t.inventoryOf(alias)} onClose={onClose}>
      {data === undefined && <Loading error={error} />}
      {data !== undefined && (
        <>
          <p class='hint'>{data.read_at === null ? t.notReadYet : t.readWhen(ago(data.read_at))}</p>
          <input
            type='search' aria-label={t.search} placeholder={t.search} value={typed}
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
  if (found.length === 0) return wanted === '' && <p class='hint'>{title}: {isOffered ? t.none : t.notOffered}</p>
  return (
    <details open={wanted !== ''}>
      <summary>{title} <span class='count numbers'>{found.length === names.length ? names.length : t.entriesOf({ count: found.length, count2: names.length })}</span></summary>
      <ul>{found.map(name => <li key={name}><code>{name}</code></li>)}</ul>
    </details>
  )
}
