import type { ComponentChildren } from 'preact'
import { useEffect, useId, useState } from 'preact/hooks'
import { imageIn, imageTypes } from '../lib/images.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/create.ts'
import { common } from '../texts/en/common.ts'

/** An input for one image: drop it, choose it with the file dialog, or remove it. */
export function ImageDrop ({ label, hint, name, value, onValue, problem, children }: {
  label: string
  hint?: string
  name: string
  value: File | null
  onValue: (file: File | null) => void
  problem?: string
  children?: ComponentChildren
}) {
  const id = useId()
  const [over, setOver] = useState(false)
  const [preview, setPreview] = useState<string | null>(null)

  useEffect(() => {
    const url = value === null ? null : URL.createObjectURL(value)
    setPreview(url)
    return () => { if (url !== null) URL.revokeObjectURL(url) }
  }, [value])

  function take (transfer: { files: FileList | null } | null) {
    const file = imageIn(transfer)
    if (file !== undefined) onValue(file)
  }

  function onDrop (event: DragEvent) {
    event.preventDefault()
    event.stopPropagation()
    setOver(false)
    take(event.dataTransfer)
  }

  return (
    <div class='field wide'>
      <span class='label' id={`${id}-label`}>{label}</span>
      <div
        class={over ? 'drop over' : 'drop'} onDragOver={event => { event.preventDefault(); event.stopPropagation(); setOver(true) }}
        onDragLeave={() => setOver(false)} onDrop={onDrop}
      >
        {preview !== null && <img src={preview} alt={common.beside({ label, value: value?.name ?? '' })} />}
        <input
          type='file' id={id} name={name} accept={imageTypes.join()} class='out-of-sight'
          aria-labelledby={`${id}-label ${id}-button`} aria-invalid={problem ? 'true' : undefined}
          aria-describedby={problem ? `${id}-problem` : undefined}
          onChange={event => { take(event.currentTarget); event.currentTarget.value = '' }}
        />
        <label class='button' for={id} id={`${id}-button`}><Icon name='image' />{value === null ? t.chooseImage : t.chooseAnother}</label>
        {value === null
          ? <span class='muted drop-words'>{t.orDropOneHere}</span>
          : <button type='button' class='button quiet' onClick={() => onValue(null)}><Icon name='close' />{t.removeImage}</button>}
        {children}
      </div>
      {hint && <p class='hint'>{hint}</p>}
      {problem && <p class='problem' id={`${id}-problem`}>{problem}</p>}
    </div>
  )
}
