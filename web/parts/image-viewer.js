import { bytesText, momentText, sizeText } from '../lib/format.js'
import { html, useEffect, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { jobs } from '../lib/service.js'
import { CopyButton } from './copy-button.js'
import { Icon } from './icon.js'
import { ImageStage } from './image-stage.js'

/**
 * One image of the gallery in the largest size that fits, with its parameters. Arrow keys and swipes show the others,
 * Delete asks to delete it, Escape closes it.
 */
export function ImageViewer ({ images, index, onIndex, onDelete, onClose }) {
  const element = useRef(null)
  const image = images[index]
  const previous = index > 0 ? () => onIndex(index - 1) : undefined
  const next = index < images.length - 1 ? () => onIndex(index + 1) : undefined
  useLayoutEffect(() => {
    const dialog = element.current
    dialog.showModal()
    return () => dialog.close()
  }, [])
  // Loads the neighbours in advance.
  useEffect(() => {
    for (const near of [index + 1, index - 1]) if (images[near] !== undefined) new window.Image().src = images[near].url
  }, [image?.filename])

  function onKeyDown (event) {
    if (event.target.closest('dialog') !== element.current) return
    if (event.key === 'ArrowRight') next?.()
    else if (event.key === 'ArrowLeft') previous?.()
    else if (event.key === 'Delete') onDelete(image)
    else return
    event.preventDefault()
  }

  return html`
    <dialog class="lightbox" ref=${element} aria-label="Image" onKeyDown=${onKeyDown}
      onCancel=${event => { event.preventDefault(); onClose() }}>
      <${ImageStage} image=${image} alt=${image.prompt || 'Image without a prompt'} onPrevious=${previous} onNext=${next} />
      <aside class="lightbox-side" aria-label="About the image">
        <header class="dialog-head">
          <h2 class="numbers">${sizeText(image) || 'Video'}</h2>
          <button type="button" class="button quiet icon-only" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>
        </header>
        <${ImageParameters} key=${image.filename} image=${image} />
        <div class="actions">
          <a class="button" href=${image.url} download=${image.filename}><${Icon} name="download" />Download</a>
          <a class="button" href="#/create?from=${image.job_id}"><${Icon} name="again" />Use again</a>
          <a class="button" href="#/create?start=${encodeURIComponent(image.filename)}"><${Icon} name="image" />Start from it</a>
          <button type="button" class="button quiet" onClick=${() => onDelete(image)}><${Icon} name="bin" />Delete</button>
        </div>
      </aside>
    </dialog>`
}

const shown = [
  ['Sampler', 'sampler_name'], ['Scheduler', 'scheduler'], ['Steps', 'steps'], ['CFG scale', 'cfg_scale'],
  ['Denoising', 'denoising_strength']
]

/** The parameters of the image. */
function ImageParameters ({ image }) {
  const [settled, setSettled] = useState(null)
  // Users who flip through the images quickly cause no requests.
  useEffect(() => {
    const timer = setTimeout(() => setSettled(image.job_id), 150)
    return () => clearTimeout(timer)
  }, [image.job_id])
  const { data: job } = useLive(async signal => settled === null ? undefined : await jobs.read(settled, signal),
    [settled], { interval: null })
  const parameters = job?.generation_params ?? {}
  const facts = [
    ['Negative prompt', parameters.negative_prompt],
    ['Checkpoint', image.checkpoint],
    ['Seed', image.seed_text],
    ...shown.map(([name, field]) => [name, parameters[field]]),
    ['Server', image.server],
    ['Made', momentText(image.created_at)],
    ['File', `${image.filename}, ${bytesText(image.bytes)}`]
  ].filter(([, value]) => ![undefined, null, ''].includes(value))
  return html`
    ${image.prompt && html`<p class="prompt">${image.prompt}</p>`}
    <dl class="facts-list stacked">
      ${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
    <div class="actions">
      <${CopyButton} label="Copy parameters" what="The parameters" text=${JSON.stringify({ ...parameters, seed: image.seed }, null, 2)} />
      <a class="button quiet" href="#/job/${image.job_id}">Job</a>
    </div>`
}
