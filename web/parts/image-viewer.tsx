import type { GalleryImage, Parameters } from '../lib/api-types.ts'
import type { Viewer } from '../lib/viewer.ts'
import { bytesText, momentText, sizeText } from '../lib/format.ts'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { jobs } from '../lib/service.ts'
import { CopyButton } from './copy-button.tsx'
import { Icon } from './icon.tsx'
import { ImageStage } from './image-stage.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/gallery.ts'

/**
 * One image of the gallery in the largest size that fits, with its parameters. Arrow keys and swipes show the others,
 * Delete asks to delete it, Escape closes it.
 */
export function ImageViewer ({ images, index, viewer, onDelete }: {
  images: readonly GalleryImage[]
  index: number
  viewer: Viewer
  /** Missing for people who may not delete it. */
  onDelete: ((image: GalleryImage) => void) | undefined
}) {
  const element = useRef<HTMLDialogElement>(null)
  const image = images[index]
  const [before, after] = [images[index - 1], images[index + 1]]
  const previous = before && (() => viewer.show(before.filename))
  const next = after && (() => viewer.show(after.filename))
  useLayoutEffect(() => {
    const dialog = element.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  // Loads the neighbours in advance.
  useEffect(() => {
    for (const near of [after, before]) if (near !== undefined) new window.Image().src = near.url
  }, [image?.filename])

  if (image === undefined) return null
  const shownImage = image

  function onKeyDown (event: KeyboardEvent) {
    if (!(event.target instanceof Element) || event.target.closest('dialog') !== element.current) return
    if (event.key === 'ArrowRight') next?.()
    else if (event.key === 'ArrowLeft') previous?.()
    else if (event.key === 'Delete') onDelete?.(shownImage)
    else return
    event.preventDefault()
  }

  return (
    <dialog
      class='lightbox' ref={element} aria-label={t.image} onKeyDown={onKeyDown}
      onCancel={event => { event.preventDefault(); viewer.close() }}
    >
      <ImageStage image={image} alt={image.prompt || t.imageWithoutPrompt} onPrevious={previous} onNext={next} />
      <aside class='lightbox-side' aria-label={t.aboutImage}>
        <header class='dialog-head'>
          <h2 class='numbers'>{sizeText(image) || t.video}</h2>
          <button type='button' class='button quiet icon-only' aria-label={common.close} onClick={viewer.close}><Icon name='close' /></button>
        </header>
        <ImageParameters key={image.filename} image={image} />
        <div class='actions'>
          <a class='button' href={image.url} download={image.filename}><Icon name='download' />{t.download}</a>
          <a class='button' href={`#/create?from=${image.job_id}`}><Icon name='again' />{t.useAgain}</a>
          <a class='button' href={`#/create?from=${image.job_id}&start=${encodeURIComponent(image.filename)}`}><Icon name='image' />{t.startFromIt}</a>
          {onDelete && <button type='button' class='button quiet' onClick={() => onDelete(image)}><Icon name='bin' />{common.delete}</button>}
        </div>
      </aside>
    </dialog>
  )
}

const shown: ReadonlyArray<readonly [string, keyof Parameters & string]> = [
  [common.sampler, 'sampler_name'], [common.scheduler, 'scheduler'], [common.steps, 'steps'], [common.cfgScale, 'cfg_scale'],
  [common.denoising, 'denoising_strength']
]

/** The parameters of the image. */
function ImageParameters ({ image }: { image: GalleryImage }) {
  const [settled, setSettled] = useState<string | null>(null)
  // Users who flip through the images quickly cause no requests.
  useEffect(() => {
    const timer = setTimeout(() => setSettled(image.job_id), 150)
    return () => clearTimeout(timer)
  }, [image.job_id])
  const { data: job } = useLive(async signal => settled === null ? undefined : await jobs.read(settled, signal),
    [settled], { interval: null })
  const parameters: Parameters = job?.generation_params ?? {}
  const facts: Array<readonly [string, unknown]> = [
    [common.negativePrompt, parameters.negative_prompt],
    [common.checkpoint, image.checkpoint],
    [common.seed, image.seed_text],
    ...shown.map(([name, field]) => [name, parameters[field]] as const),
    [common.server, image.server],
    [t.made, momentText(image.created_at)],
    [t.file, `${image.filename}, ${bytesText(image.bytes)}`]
  ]
  return (
    <>
      {image.prompt && <p class='prompt'>{image.prompt}</p>}
      <dl class='facts-list stacked'>
        {facts.filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{String(value)}</dd></div>)}
      </dl>
      <div class='actions'>
        <CopyButton
          label={t.copyParameters} copied={t.parametersCopied}
          text={JSON.stringify({ ...parameters, seed: image.seed }, null, 2)}
        />
        <a class='button quiet' href={`#/job/${image.job_id}`}>{common.job}</a>
      </div>
    </>
  )
}
