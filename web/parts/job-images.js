import { bytesText } from '../lib/format.js'
import { html } from '../lib/html.js'
import { Icon } from './icon.js'

const roles = { image: '', grid: 'contact sheet', extra: 'extra' }

/** The images of a job, each leading to its full size. */
export function JobImages ({ job }) {
  if (job.images.length === 0) return null
  const prompt = job.generation_params.prompt || 'no prompt'
  return html`
    <ul class="images">
      ${job.images.map((image, index) => html`
        <li key=${image.filename}>
          <figure>
            <a href=${image.url} target="_blank" rel="noopener">
              <img src=${image.url} width=${image.width} height=${image.height} decoding="async"
                alt="Image ${index + 1} of ${job.images.length}: ${prompt}" />
            </a>
            <figcaption>
              <span class="numbers">
                ${[roles[image.role], `${image.width} × ${image.height}`, bytesText(image.bytes),
                  image.seed === null ? '' : `seed ${image.seed}`].filter(Boolean).join(' · ')}
              </span>
              <a href=${image.url} download=${image.filename} aria-label="Download image ${index + 1}"><${Icon} name="download" />Download</a>
            </figcaption>
          </figure>
        </li>`)}
    </ul>`
}
