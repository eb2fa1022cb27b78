import { bytesText, sizeText } from '../lib/format.js'
import { html, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { CopyButton } from './copy-button.js'
import { Icon } from './icon.js'
import { ImageStage } from './image-stage.js'

/**
 * Images in the largest size that fits. Arrow keys show the next or previous one; Escape closes the dialog.
 * @param {{ images: Array<{ url: string, filename: string, width: number, height: number, bytes: number, alt: string,
 *   facts: Array<[string, string]>, text?: string }>, start: number, onClose: () => void }} props
 *   facts appear beside the image; text is for copying
 */
export function Lightbox ({ images, start, onClose }) {
  const [index, setIndex] = useState(start)
  const element = useRef(null)
  useLayoutEffect(() => {
    const dialog = element.current
    dialog.showModal()
    return () => dialog.close()
  }, [])
  const image = images[Math.min(index, images.length - 1)]
  const step = by => setIndex(before => (before + by + images.length) % images.length)

  function onKeyDown ({ key }) {
    if (key === 'ArrowRight') step(1)
    if (key === 'ArrowLeft') step(-1)
  }

  return html`
    <dialog class="lightbox" ref=${element} aria-label="Image ${index + 1} of ${images.length}" onKeyDown=${onKeyDown}
      onCancel=${event => { event.preventDefault(); onClose() }}>
      <${ImageStage} image=${image} alt=${image.alt} ...${images.length > 1 ? { onPrevious: () => step(-1), onNext: () => step(1) } : {}} />
      <aside class="lightbox-side">
        <header class="dialog-head">
          <h2 class="numbers">${images.length > 1 ? `${index + 1} of ${images.length}` : 'Image'}</h2>
          <button type="button" class="button quiet icon-only" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>
        </header>
        <p class="hint numbers">${[sizeText(image), bytesText(image.bytes)].filter(Boolean).join(' · ')}</p>
        <dl class="facts-list stacked">
          ${image.facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
        </dl>
        <div class="actions">
          <a class="button" href=${image.url} download=${image.filename}><${Icon} name="download" />Download</a>
          ${image.text && html`<${CopyButton} label="Copy parameters" what="The parameters" text=${image.text} />`}
          <a class="button" href="#/create?start=${encodeURIComponent(image.filename)}" onClick=${onClose}><${Icon} name="image" />Start from it</a>
          <a class="button quiet" href=${image.url} target="_blank" rel="noopener">Open alone</a>
        </div>
      </aside>
    </dialog>`
}
