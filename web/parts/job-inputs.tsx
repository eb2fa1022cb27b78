import type { Job } from '../lib/api-types.ts'
import { inputsOf, inputUrl } from '../lib/inputs.ts'
import { t } from '../texts/en/job.ts'

const words: Readonly<Record<string, string>> = { init_images: t.startImage, mask: t.mask, latent_mask: t.latentMask }

/** The input images of a job. */
export function JobInputs ({ job }: { job: Pick<Job, 'id' | 'generation_params'> }) {
  const inputs = inputsOf(job.generation_params)
  if (inputs.length === 0) return null
  return (
    <ul class='job-inputs' aria-label={t.madeFrom}>
      {inputs.map(({ path, name }) => {
        const label = labelOf(path)
        return (
          <li key={path.join()}>
            <a href={inputUrl(job.id, name)} target='_blank' rel='noopener noreferrer'><img
              src={inputUrl(job.id, name)}
              alt={label} loading='lazy' decoding='async'
                                                                                       />
            </a>
            <span class='hint'>{label}</span>
          </li>
        )
      })}
    </ul>
  )
}

/** `alwayson_scripts.controlnet.args.0.image` is an image of `controlnet`. */
function labelOf ([field = '', script = '']: readonly string[]) {
  return words[field] ?? (field === 'alwayson_scripts' ? script : field)
}
