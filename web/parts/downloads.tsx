import type { Outcome } from '../lib/messages.ts'
import type { Download } from '../lib/api-types.ts'
import { bytesText } from '../lib/format.ts'
import { useForm } from '../lib/form.ts'
import { useEffect, useRef } from 'preact/hooks'
import { aboutDownloads, seldom, useLive } from '../lib/live.ts'
import { attempt, say } from '../lib/messages.ts'
import { downloadOf, downloads } from '../lib/model-service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField, TextField } from './field.tsx'
import { Icon } from './icon.tsx'
import { modelTypes } from './model-preview.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/models.ts'

const active = ['pending', 'downloading']
const states: Readonly<Record<string, readonly [string, string]>> = {
  pending: [common.waiting, 'still'], downloading: [t.downloading, 'active'], completed: [common.done, 'good'], failed: [common.failed, 'bad'], cancelled: [common.cancelled, 'still']
}
const mostShown = 8

/** Downloads from Civitai and HuggingFace. */
export function Downloads ({ isAsking, onAsked, onChanged }: {
  isAsking: boolean
  onAsked: () => void
  onChanged: () => void
}) {
  const { data: all, reload } = useLive(signal => downloads.list(signal), [], {
    interval: seldom, about: aboutDownloads
  })
  const running = all?.filter(({ status }) => active.includes(status)).length ?? 0
  const before = useRef(0)

  useEffect(() => {
    if (running < before.current) onChanged()
    before.current = running
  }, [running])

  const act = async (how: () => Promise<Outcome>, sentence?: string) => {
    await attempt(how, sentence)
    reload()
  }
  return (
    <>
      {all !== undefined && all.length > 0 && (
        <section class='card' aria-labelledby='downloads'>
          <h2 id='downloads'>{t.downloads}</h2>
          <ul class='plain-rows'>
            {all.slice(0, Math.max(mostShown, running)).map(download => <Download
              key={download.id}
              download={download} act={act}
                                                                        />)}
          </ul>
        </section>
      )}
      {isAsking && <StartDownload onClose={onAsked} onStarted={reload} />}
    </>
  )
}

function Download ({ download, act }: {
  download: Download
  act: (how: () => Promise<Outcome>) => Promise<void>
}) {
  const { id, status, target_filename: name, model_name: model } = download
  const { bytes_received: received, bytes_total: total } = download
  const [word, tone] = states[status] ?? [status, 'still']
  return (
    <li>
      <div class='download-text'>
        <p><strong>{name}</strong> <span class={`status ${tone}`}>{word}</span></p>
        <p class='hint'>{[model, download.source === 'civitai' ? t.civitai : t.huggingFace, total === null ? '' : bytesText(total)].filter(Boolean).join(' · ')}</p>
        {status === 'downloading' && (
          <div class='progress'>
            <progress
              aria-label={t.progressOf(name)} max='100'
              value={total === null ? undefined : download.progress}
            />
            <span class='numbers'>{total === null ? bytesText(received) : t.receivedOf({ size: bytesText(received), percent: Math.floor(download.progress) })}</span>
          </div>
        )}
        {download.error_message && <p class='problem'>{download.error_message}</p>}
      </div>
      {active.includes(status) && <button type='button' class='button' aria-label={t.cancelName(name)} onClick={() => act(() => downloads.cancel(id))}><Icon name='stop' />{common.cancel}</button>}
      {['failed', 'cancelled'].includes(status) && <button type='button' class='button' aria-label={t.retryName(name)} onClick={() => act(() => downloads.retry(id))}><Icon name='again' />{t.retry}</button>}
    </li>
  )
}

const types = [{ value: '', label: t.asAtSource }, ...Object.entries(modelTypes).map(([value, label]) => ({ value, label }))]

function StartDownload ({ onClose, onStarted }: { onClose: () => void, onStarted: () => void }) {
  const form = useForm({ source: '', type: '', filename: '' })

  async function send ({ source, type, filename }: { source: string, type: string, filename: string }) {
    const found = downloadOf(source)
    const chosen = Object.fromEntries(Object.entries({ type, filename: filename.trim() }).filter(([, value]) => value !== ''))
    // The service gets any other text unchanged, so that its error says what would be right.
    const { message } = await downloads.start({ ...(Object.keys(found).length > 0 ? found : { source }), ...chosen })
    say(message)
    onStarted()
    onClose()
  }

  return (
    <Dialog title={t.downloadModel} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label={t.addressOrId} {...form.field('source')} autocomplete='off' autocapitalize='none' spellcheck={false} autofocus
          hint={t.sourceHint}
        />
        <SelectField label={t.type} {...form.field('type')} options={types} />
        <TextField
          label={t.fileName} hint={t.emptyItsNameAt}
          {...form.field('filename')} autocomplete='off'
        />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? t.asking : t.download}</button>
        </div>
      </form>
    </Dialog>
  )
}
