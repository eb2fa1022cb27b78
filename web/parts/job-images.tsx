import type { Job, JobImage } from '../lib/api-types.ts'
import { useRights } from '../lib/caller.ts'
import { bytesText, sizeText } from '../lib/format.ts'
import { isPlainClick, useLocalViewer, type Viewer } from '../lib/viewer.ts'
import { Icon } from './icon.tsx'
import { Medium } from './medium.tsx'
import { Lightbox } from './lightbox.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/gallery.ts'

const roles = { image: '', grid: t.contactSheet, extra: t.extra }

/** The images of a job in a list of results. */
export function ResultImages ({ job }: { job: Job }) {
  return <JobImages job={job} viewer={useLocalViewer(job.id)} />
}

/** The images of a job. A click shows one in full size with its parameters. */
export function JobImages ({ job, viewer }: { job: Job, viewer: Viewer }) {
  const { see_images: sees } = useRights()
  if (job.images.length === 0) return null
  if (!sees) return <p class='hint'>{t.imagesNotAllowed(job.images.length)}</p>
  const prompt = job.generation_params.prompt || t.noPrompt
  const texts = infotextsOf(job)
  const shown = job.images.map((image, index) => ({
    ...image, alt: t.imageOf({ index: index + 1, count: job.images.length, prompt }), facts: factsOf(job, image), text: typeof texts[index] === 'string' ? texts[index] : ''
  }))
  return (
    <>
      <ul class='images'>
        {shown.map((image, index) => (
          <li key={image.filename}>
            <figure>
              <a
                class='image-button' href={viewer.addressOf(image.filename)} aria-label={t.showImageLarge(index + 1)}
                onClick={event => { if (isPlainClick(event)) { event.preventDefault(); viewer.show(image.filename) } }}
              >
                <Medium image={image} alt={image.alt} still />
              </a>
              <figcaption>
                <span class='numbers'>
                  {[roles[image.role], sizeText(image), bytesText(image.bytes),
                    image.seed === null ? '' : t.seedOf(String(image.seed_text))].filter(Boolean).join(' · ')}
                </span>
                <a href={image.url} download={image.filename} aria-label={t.downloadImage(index + 1)}><Icon name='download' />{t.download}</a>
              </figcaption>
            </figure>
          </li>
        ))}
      </ul>
      {shown.some(({ filename }) => filename === viewer.open) && <Lightbox jobId={job.id} images={shown} viewer={viewer} />}
    </>
  )
}

/** A1111's own text of each image. */
function infotextsOf ({ result_details: details }: Job): unknown[] {
  const info = details?.generation_info
  const texts = typeof info === 'object' && info !== null && 'infotexts' in info ? info.infotexts : []
  return Array.isArray(texts) ? texts : []
}

function factsOf ({ generation_params: given, checkpoint_used: used }: Job, { seed_text: seed }: JobImage) {
  return [
    [common.prompt, given.prompt],
    [common.negativePrompt, given.negative_prompt],
    [common.checkpoint, used],
    [t.requestedCheckpoint, used === given.checkpoint_name ? undefined : given.checkpoint_name],
    [common.sampler, [given.sampler_name, given.scheduler].filter(Boolean).join(', ')],
    [common.steps, given.steps],
    [common.cfgScale, given.cfg_scale],
    [common.seed, seed ?? given.seed]
  ].filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => [String(name), String(value)] as const)
}
