import { emptyForm, plainInputs } from './generation.js'
import { fileOfInput } from './inputs.js'

/** From a job or a picture back to the form of the Create page. */

/** What jobs tell of themselves under a second name, and what the form has inputs of another kind for. */
const spokenFor = new Set([...plainInputs, 'positive_prompt', 'init_images', 'mask', 'mode', 'enable_hr'])

/** Settings of the server that the form has inputs for. */
const settingInputs = { sd_vae: 'vae', CLIP_stop_at_last_layers: 'clip_skip' }

/** What servers take where parameters do not say, and the form begins with something else. */
const unsaid = { denoising_strength: '0.75', inpainting_fill: '0', inpaint_full_res: true }

/**
 * Parameters, of a job or out of a picture, in the form. Images stay out.
 * @param {Record<string, any>} parameters
 * @param {string} [jobId] the job that they are of, for the images among what the form has no inputs for
 */
export function formWith (parameters, jobId = '') {
  const { override_settings: settings = {}, ...others } = parameters
  const told = { ...others }
  for (const [setting, input] of Object.entries(settingInputs)) told[input] ??= settings[setting]
  const isFromImage = told.init_images !== undefined
  const form = { ...emptyForm, ...isFromImage ? unsaid : {} }
  for (const name of plainInputs) {
    const value = told[name]
    if (value === undefined || value === null) continue
    form[name] = typeof emptyForm[name] === 'boolean' ? value === true || value === 'true' : String(value)
  }
  form.enable_hr = told.enable_hr === true
  form.mode = isFromImage ? 'img2img' : 'txt2img'
  form.further = furtherOf(others, settings, jobId)
  return form
}

/** What the form has no inputs for, to be sent along as it is; null where there is nothing. */
function furtherOf (parameters, settings, jobId) {
  const further = without(parameters, name => spokenFor.has(name))
  const furtherSettings = without(settings, name => name in settingInputs)
  if (Object.keys(furtherSettings).length > 0) further.override_settings = furtherSettings
  const [, ...furtherImages] = parameters.init_images ?? []
  if (furtherImages.length > 0) further.init_images = furtherImages
  return Object.keys(further).length === 0 ? null : { parameters: further, jobId }
}

/** The parts of an object that say something, but for some. */
function without (parts, isOut) {
  const isEmpty = value => value === null || (Array.isArray(value) && value.length === 0)
  return Object.fromEntries(Object.entries(parts).filter(([name, value]) => !isOut(name) && !isEmpty(value)))
}

/** What a job was made from, to be changed and sent again. */
export function formOf (job) {
  const { id, generation_params: all, client_params: ofClient = {}, target_server_alias: alias, priority } = job
  // What a client called differently is there under A1111's names as well.
  const parameters = Object.fromEntries(Object.entries(all).filter(([name]) => !(name in ofClient)))
  return { ...formWith(parameters, id), target_server_alias: alias, priority: String(priority) }
}

/** The images that the job started from, as files for the form. */
export async function imagesOf ({ id, generation_params: { init_images: images = [], mask } }) {
  const file = async reference => reference?.$media === undefined ? null : await fileOfInput(id, reference.$media)
  const [start, covering] = await Promise.all([file(images[0]), file(mask)])
  return { init_images: start, mask: covering }
}
