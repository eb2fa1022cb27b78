import { numberOf } from './exact-json.js'
import { dataUrlOf } from './images.js'
import { withInputs } from './inputs.js'

/** From the form of the Create page to a request. */

export const emptyForm = {
  mode: 'txt2img',
  prompt: '',
  negative_prompt: '',
  target_server_alias: '',
  priority: '5',
  checkpoint_name: '',
  vae: '',
  clip_skip: '',
  sampler_name: '',
  scheduler: '',
  steps: '20',
  cfg_scale: '7',
  width: '512',
  height: '512',
  seed: '',
  batch_size: '1',
  n_iter: '1',
  enable_hr: false,
  hr_scale: '2',
  hr_upscaler: 'Latent',
  hr_second_pass_steps: '',
  denoising_strength: '0.6',
  init_images: null,
  mask: null,
  resize_mode: '0',
  inpainting_fill: '1',
  inpaint_full_res: false,
  mask_blur: '4',
  /** Reused parameters without an input here: `{ parameters, jobId }`; images in them belong to that job. */
  further: null
}

const texts = ['prompt', 'negative_prompt', 'checkpoint_name', 'vae', 'sampler_name', 'scheduler']
const numbers = ['clip_skip', 'steps', 'cfg_scale', 'width', 'height', 'seed', 'batch_size', 'n_iter']
const ofHires = ['hr_scale', 'hr_upscaler', 'hr_second_pass_steps']
const ofMask = ['inpainting_fill', 'inpaint_full_res', 'mask_blur']

/** Inputs that take their values from parameters unchanged. */
export const plainInputs = [...texts, ...numbers, ...ofHires, ...ofMask, 'denoising_strength', 'resize_mode']

/** The form's values in the API's form, without empty ones. */
function given (form, names) {
  const numeric = value => typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))
  return Object.fromEntries(names.filter(name => form[name] !== '' && form[name] !== null)
    .map(name => [name, !texts.includes(name) && numeric(form[name]) ? numberOf(form[name]) : form[name]]))
}

/** @param {typeof emptyForm} form @returns {Promise<object>} the body of POST /api/v2/generate */
export async function requestOf (form) {
  const { init_images: furtherImages = [], ...further } = form.further === null
    ? {}
    : await withInputs(form.further.parameters, form.further.jobId)
  const parameters = { ...further, prompt: form.prompt, ...given(form, [...texts, ...numbers]) }
  if (form.mode === 'img2img') {
    Object.assign(parameters, given(form, ['denoising_strength', 'resize_mode']), { mode: 'img2img' })
    if (form.init_images !== null) parameters.init_images = [await dataUrlOf(form.init_images), ...furtherImages]
    if (form.mask !== null) Object.assign(parameters, given(form, ofMask), { mask: await dataUrlOf(form.mask) })
  } else if (form.enable_hr) {
    Object.assign(parameters, given(form, ['denoising_strength', ...ofHires]), { enable_hr: true })
  }
  return {
    target_server_alias: form.target_server_alias || 'default',
    priority: Number(form.priority),
    generation_params: parameters,
    app_type: 'ui',
    source_info: 'web ui'
  }
}

/** The first job of a new user. */
export const firstRequest = {
  target_server_alias: 'default',
  generation_params: {
    prompt: 'a lighthouse on a cliff at dusk, calm sea, soft light', width: 768, height: 512, steps: 24
  },
  app_type: 'ui',
  source_info: 'web ui'
}
