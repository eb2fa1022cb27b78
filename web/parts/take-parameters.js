import { dataUrlOf, imageIn, imageTypes } from '../lib/images.js'
import { html, useEffect, useId, useState } from '../lib/html.js'
import { complain, say } from '../lib/messages.js'
import { readParameters } from '../lib/service.js'
import { Icon } from './icon.js'

/** The infotext that A1111 and other programs write into images, and that people copy from elsewhere. */
const looksLikeParameters =
  /(^|\n)Steps: \d+, |^\s*\{[^]*"(class_type|sui_image_params|metadata_scheme|positive_prompt|v4_prompt)"\s*:/

/**
 * Reads the parameters from an image that the user drops, pastes or chooses, and from pasted text.
 * @param {{ onParameters: (parameters: object) => void }} props
 */
export function TakeParameters ({ onParameters }) {
  const id = useId()
  const [over, setOver] = useState(false)

  async function take (source) {
    try {
      const { generation_params: parameters, notes = [] } = await readParameters(source)
      if (Object.keys(parameters).length === 0) {
        throw new Error(notes.join(' ') || 'No generation parameters found in this image.')
      }
      onParameters(parameters)
      say(['Parameters loaded.', ...notes].join(' '))
    } catch (error) {
      complain(error)
    }
  }

  async function takeImage (file) {
    if (file !== undefined) await take({ image: await dataUrlOf(file) })
  }

  useEffect(() => {
    function onPaste (event) {
      const file = imageIn(event.clipboardData)
      const text = event.clipboardData?.getData('text/plain') ?? ''
      if (file === undefined && !looksLikeParameters.test(text)) return
      event.preventDefault()
      if (file === undefined) take({ text })
      else takeImage(file)
    }
    function onDragOver (event) {
      if (![...event.dataTransfer.types].includes('Files')) return
      event.preventDefault()
      setOver(true)
    }
    function onDragLeave (event) {
      if (event.relatedTarget === null) setOver(false)
    }
    function onDrop (event) {
      setOver(false)
      if (event.defaultPrevented) return
      event.preventDefault()
      takeImage(imageIn(event.dataTransfer))
    }
    const listeners = { paste: onPaste, dragover: onDragOver, dragleave: onDragLeave, drop: onDrop }
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener)
    return () => {
      for (const [name, listener] of Object.entries(listeners)) window.removeEventListener(name, listener)
    }
  }, [])

  return html`
    <span class="take">
      <input type="file" id=${id} accept=${imageTypes.join()} class="out-of-sight"
        onChange=${event => { takeImage(imageIn(event.currentTarget)); event.currentTarget.value = '' }} />
      <label class="button" for=${id} title="Or drop or paste an image anywhere on this page"><${Icon} name="image" />Load parameters from an image</label>
    </span>
    ${over && html`<p class="drop-anywhere" aria-hidden="true">Drop the image to load its parameters</p>`}`
}
