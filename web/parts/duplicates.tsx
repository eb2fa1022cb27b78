import type { EqualFiles } from '../lib/api-types.ts'
import { bytesText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { models } from '../lib/model-service.ts'
import { Dialog } from './dialog.tsx'
import { Loading } from './page-head.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/models.ts'

/** Texts and tags that people added to a group's files. */
function wordsOf ({ notes, description, trigger_words: words, recommended_weight: weight }: EqualFiles['groups'][number]['written']) {
  return [[t.notes, notes], [common.description, description], [t.triggerWords, words.join(', ')], [t.weight, weight]]
    .filter(([, text]) => text !== null && text !== '')
}

/** Files with equal content; deletes all but one of each group. */
export function Duplicates ({ onClose, onChanged }: { onClose: () => void, onChanged: () => void }) {
  const { data, error, reload } = useLive(signal => models.duplicates(signal), [], { interval: null })
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [isSure, setSure] = useState(false)
  const [busy, setBusy] = useState(false)
  const groups = data?.groups ?? []
  const copies = groups.filter(({ hash }) => chosen.has(hash)).reduce((sum, { files }) => sum + files.length - 1, 0)

  function toggle (hash: string) {
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

  return (
    <Dialog title={t.equalModelFiles} onClose={onClose}>
      {data === undefined && <Loading error={error} />}
      {data !== undefined && groups.length === 0 && <p class='empty'>{t.noTwoFilesWith}</p>}
      {data !== undefined && groups.length > 0 && (
        <>
          <p>{t.filesCouldGo({ count: data.count, size: bytesText(data.bytes) })}</p>
          <ul class='plain-rows'>
            {groups.map(({ hash, files, written }) => (
              <li key={hash}>
                <label class='duplicate'>
                  <input type='checkbox' checked={chosen.has(hash)} onChange={() => toggle(hash)} />
                  <span>{files.map(file => <span key={`${file.folder}/${file.path}`} class='duplicate-file'>{file.folder}/{file.path} {file.keep && <span class='status good'>{t.stays}</span>}</span>)}
                    {wordsOf(written).map(([label, text]) => <span key={label} class='duplicate-file'>{label}: {text}</span>)}
                  </span>
                </label>
              </li>
            ))}
          </ul>
        </>
      )}
      {isSure && <p class='notice problem-notice' role='alert'>{t.filesWillBePermanently(copies)}</p>}
      <div class='dialog-actions'>
        {groups.length > 0 && chosen.size < groups.length && <button type='button' class='button quiet' onClick={() => setChosen(new Set(groups.map(({ hash }) => hash)))}>{t.chooseAll}</button>}
        <button type='button' class='button' onClick={onClose}>{common.close}</button>
        {chosen.size > 0 && (
          <button type='button' class='button danger' disabled={busy} onClick={isSure ? remove : () => setSure(true)}>
            {busy ? t.deleting : isSure ? t.deleteThemNow : t.deleteCopies(copies)}
          </button>
        )}
      </div>
    </Dialog>
  )
}
