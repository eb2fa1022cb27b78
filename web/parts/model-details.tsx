import type { ComponentChildren } from 'preact'
import type { Outcome } from '../lib/messages.ts'
import type { IconName } from './icon.tsx'
import type { Model } from '../lib/api-types.ts'
import { ApiError } from '../lib/api.ts'
import { bytesText, momentText } from '../lib/format.ts'
import { useRights } from '../lib/caller.ts'
import { useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { models } from '../lib/model-service.ts'
import { richText } from '../lib/rich-text.tsx'
import { CopyButton } from './copy-button.tsx'
import { Confirm, Dialog } from './dialog.tsx'
import { Icon } from './icon.tsx'
import { typeWord } from './model-preview.tsx'
import { Loading } from './page-head.tsx'

const sources = { forge: 'its own notes', civitai: 'Civitai', embedded: 'its header', none: 'only its name' }

/** All details of one model, and its actions. */
export function ModelDetails ({ id, blurs, onClose, onChanged }: {
  id: string
  blurs: boolean
  onClose: () => void
  onChanged: () => void
}) {
  const { data: model, error, reload } = useLive(signal => models.read(id, signal), [id], { interval: null })
  const [busy, setBusy] = useState('')
  const [isConfirming, setConfirming] = useState(false)

  async function act (name: string, how: () => Promise<Outcome>, sentence?: string) {
    setBusy(name)
    const done = await attempt(how, sentence)
    setBusy('')
    if (!done) return false
    reload()
    onChanged()
    return true
  }

  const { change_models: changes, submit_jobs: submits } = useRights()

  async function remove () {
    setConfirming(false)
    setBusy('delete')
    const done = await attempt(() => models.remove(id))
    setBusy('')
    if (!done) return
    onChanged()
    onClose()
  }

  if (model === undefined) {
    const isGone = error instanceof ApiError && error.status === 404
    return (
      <Dialog title={isGone ? 'There is no such model' : 'Model'} onClose={onClose}>
        <Loading error={error} />
      </Dialog>
    )
  }
  const action = (name: string, label: string, icon: IconName, how: () => Promise<Outcome>, sentence?: string) => (
    <button type='button' class='button' disabled={busy !== ''} onClick={() => act(name, how, sentence)}>
      <Icon name={icon} />{busy === name ? `${label}…` : label}
    </button>
  )
  const createAddress = createAddressOf(model)

  return (
    <Dialog title={model.name} onClose={onClose} wide>
      <div class='model-details'>
        <div class='model-pictures'>
          {model.previews.length === 0
            ? <span class='model-preview'><Icon name='models' /></span>
            : model.previews.slice(0, 6).map((url, index) => (
              <span key={url} class={blurs && model.civitai_nsfw ? 'model-preview blurred' : 'model-preview'}>
                <img src={url} alt={`Example ${index + 1} of ${model.name}`} loading='lazy' decoding='async' />
              </span>
            ))}
        </div>
        <div class='model-text'>
          <div class='actions'>
            {submits && createAddress && <a class='button primary' href={createAddress}><Icon name='create' />Use in Create</a>}
            {changes && action('refresh', 'Ask Civitai', 'again', () => models.refresh(id))}
            {changes && model.on_disk && model.hash_sha256 === null && action('hash', 'Hash', 'key', () => models.hash(id))}
            {changes && model.on_disk && action('rescan', 'Read again', 'search', () => models.rescan(id), 'Its file and the files beside it were read again.')}
            {model.civitai_url && <a class='button quiet' href={model.civitai_url} target='_blank' rel='noopener noreferrer'>At Civitai</a>}
            {changes && model.on_disk && <button type='button' class='button quiet' disabled={busy !== ''} onClick={() => setConfirming(true)}><Icon name='bin' />Delete file</button>}
          </div>
          {model.trigger_words.length > 0 && (
            <section aria-label='Trigger words'>
              <h3>Trigger words</h3>
              <p class='words'>{model.trigger_words.map(word => <code key={word}>{word}</code>)}</p>
              <CopyButton label='Copy words' what='The trigger words were' text={model.trigger_words.join(', ')} />
            </section>
          )}
          <dl class='facts-list'>{factsOf(model).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
          {model.hash_sha256 && <div class='actions'><CopyButton label='Copy SHA-256' what='The hash was' text={model.hash_sha256} /></div>}
          {model.notes && <section aria-label='Notes'><h3>Notes</h3><p class='prompt'>{model.notes}</p></section>}
          {model.description && <section aria-label='Description'><h3>Description</h3><div class='rich-text'>{richText(model.description)}</div></section>}
        </div>
      </div>
      {isConfirming && (
        <Confirm
          title={`Delete ${model.filename}?`} action='Delete file' onConfirm={remove} onClose={() => setConfirming(false)}
          sentence={`This permanently deletes the file with its previews and notes${model.duplicate_group_size > 1 ? '; of its equal copies only the first' : ''}.`}
        />
      )}
    </Dialog>
  )
}

function factsOf (model: Model) {
  const facts: Array<readonly [string, ComponentChildren]> = [
    ['Type', typeWord(model)],
    ['Made for', model.base_model],
    ['File', model.path],
    ['Size', model.size === null ? null : bytesText(model.size)],
    ['Changed', model.modified === null ? null : momentText(model.modified)],
    ['AutoV2', model.hash_autov2 && <code>{model.hash_autov2}</code>],
    ['AutoV3', model.hash_autov3 && <code>{model.hash_autov3.slice(0, 12)}</code>],
    ['SHA-256', model.hash_sha256 && <code>{model.hash_sha256}</code>],
    ['Weight', model.recommended_weight],
    ['Saved as', model.training?.output_name],
    ['Trained on', model.training?.trained_on],
    ['Trained at', model.training?.resolution],
    ['Rank', rankOf(model)],
    ['Version', model.civitai?.name],
    ['Tags', model.tags.slice(0, 20).join(', ')],
    ['Servers', model.servers.map(({ alias, title }) => `${alias} (${title})`).join(', ') || 'none'],
    ['Known from', sources[model.metadata_source]]
  ]
  return facts.filter(([, value]) => value !== undefined && value !== null && value !== '')
}

/** Dimension and alpha of a LoRA's network. */
function rankOf ({ training }: Model) {
  return training?.dim && (training.alpha ? `${training.dim} (alpha ${training.alpha})` : training.dim)
}

/** The Create page with this model; empty if the form cannot choose it. */
function createAddressOf ({ type, servers, trigger_words: words, recommended_weight: weight, filename }: Model) {
  const [server] = servers
  if (server === undefined) return ''
  if (type === 'checkpoint') return `#/create?${new URLSearchParams({ checkpoint_name: server.title })}`
  if (type === 'vae') return `#/create?${new URLSearchParams({ vae: server.title })}`
  const name = filename.replace(/\.\w+$/, '')
  if (type === 'lora') return `#/create?${new URLSearchParams({ prompt: [`<lora:${name}:${weight ?? 1}>`, ...words.slice(0, 1)].join(' ') })}`
  return type === 'embedding' ? `#/create?${new URLSearchParams({ prompt: name })}` : ''
}
