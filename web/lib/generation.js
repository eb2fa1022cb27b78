/** From the form of the Create page to a request, and from a job back to the form. */

export const emptyForm = {
  prompt: '',
  negative_prompt: '',
  target_server_alias: '',
  checkpoint_name: '',
  sampler_name: '',
  scheduler: '',
  steps: '20',
  cfg_scale: '7',
  width: '512',
  height: '512',
  seed: '',
  n_iter: '1',
  enable_hr: false,
  hr_scale: '2',
  hr_upscaler: 'Latent',
  denoising_strength: '0.6',
  init_images: null
}

const texts = ['prompt', 'negative_prompt', 'checkpoint_name', 'sampler_name', 'scheduler']
const numbers = ['steps', 'cfg_scale', 'width', 'height', 'seed', 'n_iter']

/** @param {typeof emptyForm} form @returns {Promise<object>} the body of POST /api/v2/generate */
export async function requestOf (form) {
  const parameters = { prompt: form.prompt }
  for (const name of texts) if (form[name] !== '') parameters[name] = form[name]
  for (const name of numbers) if (form[name] !== '') parameters[name] = Number(form[name])
  const start = form.init_images
  if (start !== null) parameters.init_images = [await dataUrlOf(start)]
  else if (form.enable_hr) {
    Object.assign(parameters, { enable_hr: true, hr_scale: Number(form.hr_scale), hr_upscaler: form.hr_upscaler })
  }
  if (start !== null || form.enable_hr) parameters.denoising_strength = Number(form.denoising_strength)
  return {
    target_server_alias: form.target_server_alias || 'default',
    generation_params: parameters,
    app_type: 'ui',
    source_info: 'web ui'
  }
}

/** What a job was made from, to be changed and sent again; its start image stays with it. */
export function formOf (job) {
  const given = job.generation_params
  const form = { ...emptyForm, target_server_alias: job.target_server_alias }
  for (const name of [...texts, ...numbers, 'hr_scale', 'hr_upscaler', 'denoising_strength']) {
    if (given[name] !== undefined && given[name] !== null) form[name] = String(given[name])
  }
  form.enable_hr = given.enable_hr === true
  return form
}

async function dataUrlOf (file) {
  return await new Promise((resolve, reject) => {
    const reader = new window.FileReader()
    reader.onload = () => resolve(reader.result)
    reader.onerror = () => reject(new TypeError('The image could not be read.'))
    reader.readAsDataURL(file)
  })
}

/** For the first job of a newcomer. */
export const firstRequest = {
  target_server_alias: 'default',
  generation_params: {
    prompt: 'a lighthouse on a cliff at dusk, calm sea, soft light', width: 768, height: 512, steps: 24
  },
  app_type: 'ui',
  source_info: 'web ui'
}
