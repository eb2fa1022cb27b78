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
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/models.ts'

const sources = { forge: t.itsOwnNotes, civitai: t.civitai, embedded: t.itsHeader, none: t.onlyItsName }

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
      <Dialog title={isGone ? t.thereIsNoSuch : t.model} onClose={onClose}>
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
                <img src={url} alt={t.exampleOf({ index: index + 1, name: model.name })} loading='lazy' decoding='async' />
              </span>
              ))}
        </div>
        <div class='model-text'>
          <div class='actions'>
            {submits && createAddress && <a class='button primary' href={createAddress}><Icon name='create' />{t.useInCreate}</a>}
            {changes && action('refresh', t.askCivitai, 'again', () => models.refresh(id))}
            {changes && model.on_disk && model.hash_sha256 === null && action('hash', t.hash, 'key', () => models.hash(id))}
            {changes && model.on_disk && action('rescan', t.readAgain, 'search', () => models.rescan(id), t.itsFileAndFiles)}
            {model.civitai_url && <a class='button quiet' href={model.civitai_url} target='_blank' rel='noopener noreferrer'>{t.atCivitai}</a>}
            {changes && model.on_disk && <button type='button' class='button quiet' disabled={busy !== ''} onClick={() => setConfirming(true)}><Icon name='bin' />{t.deleteFile}</button>}
          </div>
          {model.trigger_words.length > 0 && (
            <section aria-label={t.triggerWords}>
              <h3>{t.triggerWords}</h3>
              <p class='words'>{model.trigger_words.map(word => <code key={word}>{word}</code>)}</p>
              <CopyButton label={t.copyWords} copied={t.triggerWordsCopied} text={model.trigger_words.join(', ')} />
            </section>
          )}
          <dl class='facts-list'>{factsOf(model).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
          {model.hash_sha256 && <div class='actions'><CopyButton label={t.copySha256} copied={t.hashCopied} text={model.hash_sha256} /></div>}
          {model.notes && <section aria-label={t.notes}><h3>{t.notes}</h3><p class='prompt'>{model.notes}</p></section>}
          {model.description && <section aria-label={common.description}><h3>{common.description}</h3><div class='rich-text'>{richText(model.description)}</div></section>}
        </div>
      </div>
      {isConfirming && (
        <Confirm
          title={t.deleteFilename(model.filename)} action={t.deleteFile} onConfirm={remove}
          onClose={() => setConfirming(false)}
          sentence={model.duplicate_group_size > 1 ? t.deletesFirstCopy : t.deletesFile}
        />
      )}
    </Dialog>
  )
}

function factsOf (model: Model) {
  const facts: Array<readonly [string, ComponentChildren]> = [
    [t.type, typeWord(model)],
    [t.madeFor, model.base_model],
    [t.file, model.path],
    [t.size, model.size === null ? null : bytesText(model.size)],
    [t.changed, model.modified === null ? null : momentText(model.modified)],
    [t.autoV2, model.hash_autov2 && <code>{model.hash_autov2}</code>],
    [t.autoV3, model.hash_autov3 && <code>{model.hash_autov3.slice(0, 12)}</code>],
    [t.sha256, model.hash_sha256 && <code>{model.hash_sha256}</code>],
    [t.weight, model.recommended_weight],
    [t.savedAs, model.training?.output_name],
    [t.trainedOn, model.training?.trained_on],
    [t.trainedAt, model.training?.resolution],
    [t.rank, rankOf(model)],
    [t.version, model.civitai?.name],
    [t.tags, model.tags.slice(0, 20).join(', ')],
    [common.servers, model.servers.map(({ alias, title }) => t.titleAt({ alias, title })).join(', ') || t.noServers],
    [t.knownFrom, sources[model.metadata_source]]
  ]
  return facts.filter(([, value]) => value !== undefined && value !== null && value !== '')
}

/** Dimension and alpha of a LoRA's network. */
function rankOf ({ training }: Model) {
  if (!training?.dim) return undefined
  return training.alpha ? t.dimAlpha({ dim: training.dim, alpha: training.alpha }) : training.dim
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
