import { html } from '../lib/html.js'
import { inputsOf, inputUrl } from '../lib/inputs.js'

const words = { init_images: 'Start image', mask: 'Mask', latent_mask: 'Latent mask' }

/** The input images of a job. */
export function JobInputs ({ job }) {
  const inputs = inputsOf(job.generation_params)
  if (inputs.length === 0) return null
  return html`
    <ul class="job-inputs" aria-label="Made from">
      ${inputs.map(({ path, name }) => {
        const label = labelOf(path)
        return html`
          <li key=${path.join()}>
            <a href=${inputUrl(job.id, name)} target="_blank" rel="noopener"><img src=${inputUrl(job.id, name)} alt=${label} loading="lazy" decoding="async" /></a>
            <span class="hint">${label}</span>
          </li>`
      })}
    </ul>`
}

/** `alwayson_scripts.controlnet.args.0.image` is an image of `controlnet`. */
function labelOf ([field, script]) {
  return words[field] ?? (field === 'alwayson_scripts' ? script : field)
}
