import { bytesText, sizeText } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { Icon } from './icon.js'
import { Medium } from './medium.js'
import { Lightbox } from './lightbox.js'

const roles = { image: '', grid: 'contact sheet', extra: 'extra' }

/** The images of a job. A click shows one in full size with its parameters. */
export function JobImages ({ job }) {
  const [open, setOpen] = useState(-1)
  if (job.images.length === 0) return null
  const prompt = job.generation_params.prompt || 'no prompt'
  const texts = job.result_details?.generation_info?.infotexts ?? []
  const shown = job.images.map((image, index) => ({
    ...image, alt: `Image ${index + 1} of ${job.images.length}: ${prompt}`, facts: factsOf(job, image), text: texts[index]
  }))
  return html`
    <ul class="images">
      ${shown.map((image, index) => html`
        <li key=${image.filename}>
          <figure>
            <button type="button" class="image-button" aria-label="Show image ${index + 1} large" onClick=${() => setOpen(index)}>
              <${Medium} image=${image} alt=${image.alt} still />
            </button>
            <figcaption>
              <span class="numbers">
                ${[roles[image.role], sizeText(image), bytesText(image.bytes),
                  image.seed === null ? '' : `seed ${image.seed_text}`].filter(Boolean).join(' · ')}
              </span>
              <a href=${image.url} download=${image.filename} aria-label="Download image ${index + 1}"><${Icon} name="download" />Download</a>
            </figcaption>
          </figure>
        </li>`)}
    </ul>
    ${open >= 0 && html`<${Lightbox} images=${shown} start=${open} onClose=${() => setOpen(-1)} />`}`
}

function factsOf ({ generation_params: given }, { seed_text: seed }) {
  return [
    ['Prompt', given.prompt],
    ['Negative prompt', given.negative_prompt],
    ['Checkpoint', given.checkpoint_name],
    ['Sampler', [given.sampler_name, given.scheduler].filter(Boolean).join(', ')],
    ['Steps', given.steps],
    ['CFG scale', given.cfg_scale],
    ['Seed', seed ?? given.seed]
  ].filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => [name, String(value)])
}
