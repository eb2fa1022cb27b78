import { html, useEffect, useId, useState } from '../lib/html.js'
import { Icon } from './icon.js'

const accepted = ['image/png', 'image/jpeg', 'image/webp']

/** A place for one image: dropped, pasted with the keyboard's file dialog, or taken away again. */
export function ImageDrop ({ label, hint, name, value, onValue, problem }) {
  const id = useId()
  const [over, setOver] = useState(false)
  const [preview, setPreview] = useState(null)

  useEffect(() => {
    const url = value === null ? null : URL.createObjectURL(value)
    setPreview(url)
    return () => { if (url !== null) URL.revokeObjectURL(url) }
  }, [value])

  function take (files) {
    const file = [...files].find(({ type }) => accepted.includes(type))
    if (file !== undefined) onValue(file)
  }

  function onDrop (event) {
    event.preventDefault()
    setOver(false)
    take(event.dataTransfer.files)
  }

  return html`
    <div class="field wide">
      <span class="label" id="${id}-label">${label}</span>
      <div class=${over ? 'drop over' : 'drop'} onDragOver=${event => { event.preventDefault(); setOver(true) }}
        onDragLeave=${() => setOver(false)} onDrop=${onDrop}>
        ${preview !== null && html`<img src=${preview} alt="Image to start from: ${value.name}" />`}
        <input type="file" id=${id} name=${name} accept=${accepted.join()} class="out-of-sight"
          aria-labelledby="${id}-label ${id}-button" aria-invalid=${problem ? 'true' : undefined}
          aria-describedby=${problem ? `${id}-problem` : undefined}
          onChange=${event => { take(event.currentTarget.files); event.currentTarget.value = '' }} />
        <label class="button" for=${id} id="${id}-button"><${Icon} name="image" />${value === null ? 'Choose an image' : 'Choose another'}</label>
        ${value === null
          ? html`<span class="muted drop-words">or drop one here</span>`
          : html`<button type="button" class="button quiet" onClick=${() => onValue(null)}><${Icon} name="close" />Take it away</button>`}
      </div>
      ${hint && html`<p class="hint">${hint}</p>`}
      ${problem && html`<p class="problem" id="${id}-problem">${problem}</p>`}
    </div>`
}
