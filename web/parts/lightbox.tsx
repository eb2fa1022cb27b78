import type { Picture } from './medium.tsx'
import type { Viewer } from '../lib/viewer.ts'
import { bytesText, sizeText } from '../lib/format.ts'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { CopyButton } from './copy-button.tsx'
import { Icon } from './icon.tsx'
import { ImageStage } from './image-stage.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/gallery.ts'

export interface LargePicture extends Picture {
  readonly filename: string
  readonly bytes: number
  readonly alt: string
  /** They appear beside the image. */
  readonly facts: ReadonlyArray<readonly [string, string]>
  /** For copying; can be empty. */
  readonly text: string
}

/**
 * Images in the largest size that fits. Arrow keys show the next or previous one; Escape closes the dialog.
 *   facts appear beside the image; text is for copying
 */
export function Lightbox ({ jobId, images, viewer }: {
  jobId: string
  images: readonly LargePicture[]
  viewer: Viewer
}) {
  const element = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const dialog = element.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  const index = images.findIndex(({ filename }) => filename === viewer.open)
  const image = images[index]
  const step = (by: number) => {
    const next = images[(index + by + images.length) % images.length]
    if (next !== undefined) viewer.show(next.filename)
  }

  if (image === undefined) return null

  function onKeyDown ({ key }: KeyboardEvent) {
    if (key === 'ArrowRight') step(1)
    if (key === 'ArrowLeft') step(-1)
  }

  return (
    <dialog
      class='lightbox' ref={element} aria-label={t.imageNumber({ index: index + 1, count: images.length })} onKeyDown={onKeyDown}
      onCancel={event => { event.preventDefault(); viewer.close() }}
    >
      <ImageStage
        image={image} alt={image.alt}
        {...images.length > 1 ? { onPrevious: () => step(-1), onNext: () => step(1) } : {}}
      />
      <aside class='lightbox-side'>
        <header class='dialog-head'>
          <h2 class='numbers'>{images.length > 1 ? t.ofIndexCount({ index: index + 1, count: images.length }) : t.image}</h2>
          <button type='button' class='button quiet icon-only' aria-label={common.close} onClick={viewer.close}><Icon name='close' /></button>
        </header>
        <p class='hint numbers'>{[sizeText(image), bytesText(image.bytes)].filter(Boolean).join(' · ')}</p>
        <dl class='facts-list stacked'>
          {image.facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
        </dl>
        <div class='actions'>
          <a class='button' href={image.url} download={image.filename}><Icon name='download' />{t.download}</a>
          {image.text && <CopyButton label={t.copyParameters} copied={t.parametersCopied} text={image.text} />}
          <a class='button' href={`#/create?from=${jobId}&start=${encodeURIComponent(image.filename)}`}><Icon name='image' />{t.startFromIt}</a>
          <a class='button quiet' href={image.url} target='_blank' rel='noopener noreferrer'>{t.openAlone}</a>
        </div>
      </aside>
    </dialog>
  )
}
