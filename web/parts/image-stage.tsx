import type { Picture } from './medium.tsx'
import { useRef } from 'preact/hooks'
import { useSwipe } from '../lib/swipe.ts'
import { Icon } from './icon.tsx'
import { Medium } from './medium.tsx'
import { t } from '../texts/en/gallery.ts'

/**
 * An image in the largest size that fits, with buttons and swipes to its neighbours.
 * @param props without a function there is no button
 */
export function ImageStage ({ image, alt, onPrevious, onNext }: {
  image: Picture
  alt: string
  onPrevious?: () => void
  onNext?: () => void
}) {
  const element = useRef<HTMLDivElement>(null)
  useSwipe(element, direction => (direction > 0 ? onNext : onPrevious)?.())
  return (
    <div class='lightbox-stage' ref={element}>
      <Medium key={image.url} image={image} alt={alt} />
      {onPrevious && <button type='button' class='button step left' aria-label={t.previousImage} onClick={onPrevious}><Icon name='left' /></button>}
      {onNext && <button type='button' class='button step right' aria-label={t.nextImage} onClick={onNext}><Icon name='right' /></button>}
    </div>
  )
}
