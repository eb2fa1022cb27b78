import type { Model, ModelType } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { emptyIfMissing } from '../lib/images.ts'
import { useLive } from '../lib/live.ts'
import { models } from '../lib/model-service.ts'
import { Dialog } from './dialog.tsx'
import { Icon } from './icon.tsx'
import { Loading } from './page-head.tsx'
import { t } from '../texts/en/create.ts'

const mostShown = 200

/**
 * Cards of a server's models, or of all models if the alias is empty.
 * @param props onPick also gets the server's own name of the model
 */
export function ModelPicker ({ type, title, server, onPick, onClose }: {
  type: ModelType
  title: string
  server: string
  onPick: (model: Model, title: string) => void
  onClose: () => void
}) {
  const [typed, setTyped] = useState('')
  const search = typed.trim()
  const { data, error } = useLive(signal => models.list({ type, server, search, limit: mostShown }, signal),
    [type, server, search], { interval: null })
  const found = data?.models.filter(model => model.servers.length > 0) ?? []
  return (
    <Dialog title={title} onClose={onClose} wide>
      <input
        type='search' aria-label={t.searchModels} placeholder={t.searchModelsHint} value={typed} autofocus
        onInput={event => setTyped(event.currentTarget.value)}
      />
      {data === undefined && <Loading error={error} />}
      {data !== undefined && found.length === 0 && <p class='empty'>{typed === '' ? t.serversHaveNone : t.noModelMatches}</p>}
      <ul class='model-cards'>
        {found.map(model => <li key={model.id}><ModelCard model={model} server={server} onPick={onPick} /></li>)}
      </ul>
      {data !== undefined && data.total > mostShown && <p class='hint'>{t.firstOf({ mostShown, total: data.total })}</p>}
    </Dialog>
  )
}

function ModelCard ({ model, server, onPick }: {
  model: Model
  server: string
  onPick: (model: Model, title: string) => void
}) {
  const [hidden, setHidden] = useState(model.civitai_nsfw)
  const title = (model.servers.find(({ alias }) => alias === server) ?? model.servers[0])?.title ?? ''
  return (
    <button type='button' class='model-card' onClick={() => onPick(model, title)}>
      <span class='model-picture'>
        {model.preview_url !== null && !hidden
          ? <img src={emptyIfMissing(model.preview_url)} alt='' loading='lazy' decoding='async' onError={() => setHidden(true)} />
          : <Icon name='models' />}
      </span>
      <span class='model-name'>{model.name}</span>
      <span class='hint'>{[model.base_model, model.trigger_words.slice(0, 3).join(', ')].filter(Boolean).join(' · ') || title}</span>
    </button>
  )
}
