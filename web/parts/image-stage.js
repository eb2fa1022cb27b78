import { html, useRef } from '../lib/html.js'
import { useSwipe } from '../lib/swipe.js'
import { Icon } from './icon.js'
import { Medium } from './medium.js'

/**
 * An image in the largest size that fits, with buttons and swipes to its neighbours.
 * @param {{ image: { url: string, width: number, height: number }, alt: string, onPrevious?: () => void,
 *   onNext?: () => void }} props without a function there is no button
 */
export function ImageStage ({ image, alt, onPrevious, onNext }) {
  const element = useRef(null)
  useSwipe(element, direction => (direction > 0 ? onNext : onPrevious)?.())
  return html`
    <div class="lightbox-stage" ref=${element}>
      <${Medium} key=${image.url} image=${image} alt=${alt} />
      ${onPrevious && html`
        <button type="button" class="button step left" aria-label="Previous image" onClick=${onPrevious}><${Icon} name="left" /></button>`}
      ${onNext && html`
        <button type="button" class="button step right" aria-label="Next image" onClick=${onNext}><${Icon} name="right" /></button>`}
    </div>`
}
