import { html, useEffect, useId, useState } from '../lib/html.js'
import { imageIn, imageTypes } from '../lib/images.js'
import { Icon } from './icon.js'

/** An input for one image: drop it, choose it with the file dialog, or remove it. */
export function ImageDrop ({ label, hint, name, value, onValue, problem }) {
  const id = useId()
  const [over, setOver] = useState(false)
  const [preview, setPreview] = useState(null)

  useEffect(() => {
    const url = value === null ? null : URL.createObjectURL(value)
    setPreview(url)
    return () => { if (url !== null) URL.revokeObjectURL(url) }
  }, [value])

  function take (transfer) {
    const file = imageIn(transfer)
    if (file !== undefined) onValue(file)
  }

  function onDrop (event) {
    event.preventDefault()
    event.stopPropagation()
    setOver(false)
    take(event.dataTransfer)
  }

  return html`
    <div class="field wide">
      <span class="label" id="${id}-label">${label}</span>
      <div class=${over ? 'drop over' : 'drop'} onDragOver=${event => { event.preventDefault(); event.stopPropagation(); setOver(true) }}
        onDragLeave=${() => setOver(false)} onDrop=${onDrop}>
        ${preview !== null && html`<img src=${preview} alt="${label}: ${value.name}" />`}
        <input type="file" id=${id} name=${name} accept=${imageTypes.join()} class="out-of-sight"
          aria-labelledby="${id}-label ${id}-button" aria-invalid=${problem ? 'true' : undefined}
          aria-describedby=${problem ? `${id}-problem` : undefined}
          onChange=${event => { take(event.currentTarget); event.currentTarget.value = '' }} />
        <label class="button" for=${id} id="${id}-button"><${Icon} name="image" />${value === null ? 'Choose an image' : 'Choose another'}</label>
        ${value === null
          ? html`<span class="muted drop-words">or drop one here</span>`
          : html`<button type="button" class="button quiet" onClick=${() => onValue(null)}><${Icon} name="close" />Remove image</button>`}
      </div>
      ${hint && html`<p class="hint">${hint}</p>`}
      ${problem && html`<p class="problem" id="${id}-problem">${problem}</p>`}
    </div>`
}
