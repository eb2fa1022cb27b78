import type { Job, JobImage } from '../lib/api-types.ts'
import { bytesText, sizeText } from '../lib/format.ts'
import { isPlainClick, useLocalViewer, type Viewer } from '../lib/viewer.ts'
import { Icon } from './icon.tsx'
import { Medium } from './medium.tsx'
import { Lightbox } from './lightbox.tsx'

const roles = { image: '', grid: 'contact sheet', extra: 'extra' }

/** The images of a job in a list of results. */
export function ResultImages ({ job }: { job: Job }) {
  return <JobImages job={job} viewer={useLocalViewer(job.id)} />
}

/** The images of a job. A click shows one in full size with its parameters. */
export function JobImages ({ job, viewer }: { job: Job, viewer: Viewer }) {
  if (job.images.length === 0) return null
  const prompt = job.generation_params.prompt || 'no prompt'
  const texts = infotextsOf(job)
  const shown = job.images.map((image, index) => ({
    ...image, alt: `Image ${index + 1} of ${job.images.length}: ${prompt}`, facts: factsOf(job, image), text: typeof texts[index] === 'string' ? texts[index] : ''
  }))
  return (
    <>
      <ul class='images'>
        {shown.map((image, index) => (
          <li key={image.filename}>
            <figure>
              <a
                class='image-button' href={viewer.addressOf(image.filename)} aria-label={`Show image ${index + 1} large`}
                onClick={event => { if (isPlainClick(event)) { event.preventDefault(); viewer.show(image.filename) } }}
              >
                <Medium image={image} alt={image.alt} still />
              </a>
              <figcaption>
                <span class='numbers'>
                  {[roles[image.role], sizeText(image), bytesText(image.bytes),
                    image.seed === null ? '' : `seed ${image.seed_text}`].filter(Boolean).join(' · ')}
                </span>
                <a href={image.url} download={image.filename} aria-label={`Download image ${index + 1}`}><Icon name='download' />Download</a>
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
    ['Prompt', given.prompt],
    ['Negative prompt', given.negative_prompt],
    ['Checkpoint', used],
    ['Requested checkpoint', used === given.checkpoint_name ? undefined : given.checkpoint_name],
    ['Sampler', [given.sampler_name, given.scheduler].filter(Boolean).join(', ')],
    ['Steps', given.steps],
    ['CFG scale', given.cfg_scale],
    ['Seed', seed ?? given.seed]
  ].filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => [String(name), String(value)] as const)
}
