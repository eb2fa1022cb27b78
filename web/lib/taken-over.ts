import type { CreateForm } from './generation.ts'
import type { Job, Parameters } from './api-types.ts'
import { emptyForm, plainInputs } from './generation.ts'
import { fileOfInput, isInput } from './inputs.ts'

/** From a job or an image back to the form of the Create page. */

/** Second names of parameters in jobs, and parameters for which the form has inputs of another kind. */
const formParameters = new Set<string>([...plainInputs, 'positive_prompt', 'init_images', 'mask', 'mode', 'enable_hr'])

/** Settings of the server for which the form has inputs. */
const settingInputs: Readonly<Record<string, keyof CreateForm>> = { sd_vae: 'vae', CLIP_stop_at_last_layers: 'clip_skip' }

/** Values that servers use for missing parameters, if the form starts with others. */
const serverDefaults = { denoising_strength: '0.75', resize_mode: '0', inpainting_fill: '0', inpaint_full_res: true }

/**
 * Parameters of a job or image as values of the form, without images.
 * @param [jobId] the job that they come from; parameters without an input can refer to its images
 */
export function formWith (parameters: Parameters, jobId = '') {
  const { override_settings: settings = {}, ...others } = parameters
  const values: Record<string, unknown> = { ...others }
  for (const [setting, input] of Object.entries(settingInputs)) values[input] ??= settings[setting]
  const isFromImage = values.init_images !== undefined
  const form = { ...emptyForm, ...isFromImage ? serverDefaults : {} }
  for (const name of plainInputs) {
    const value = values[name]
    if (value === undefined || value === null) continue
    Object.assign(form, { [name]: typeof emptyForm[name] === 'boolean' ? value === true || value === 'true' : String(value) })
  }
  form.enable_hr = values.enable_hr === true
  form.mode = isFromImage ? 'img2img' : 'txt2img'
  form.further = furtherOf(others, settings, jobId)
  return form
}

/** The parameters without an input, which a job gets unchanged; null if there are none. */
function furtherOf (parameters: Parameters, settings: Readonly<Record<string, unknown>>, jobId: string) {
  const further = without(parameters, name => formParameters.has(name))
  const furtherSettings = without(settings, name => name in settingInputs)
  if (Object.keys(furtherSettings).length > 0) further.override_settings = furtherSettings
  const [, ...furtherImages] = parameters.init_images ?? []
  if (furtherImages.length > 0) further.init_images = furtherImages
  return Object.keys(further).length === 0 ? null : { parameters: further, jobId }
}

/** The entries of an object that have a value, except for some names. */
function without (parts: Readonly<Record<string, unknown>>, isExcluded: (name: string) => boolean) {
  const isEmpty = (value: unknown) => value === null || (Array.isArray(value) && value.length === 0)
  return Object.fromEntries(Object.entries(parts).filter(([name, value]) => !isExcluded(name) && !isEmpty(value)))
}

/** The parameters of a job, to change and submit again. */
export function formOf (job: Job) {
  const { id, generation_params: all, client_params: ofClient = {}, target_server_alias: alias, background } = job
  // Parameters with a client's own names are there under A1111's names too.
  const parameters = Object.fromEntries(Object.entries(all).filter(([name]) => !(name in ofClient)))
  const [server, priority] = [alias === 'default' ? '' : alias, String(job.priority)]
  return { ...formWith(parameters, id), target_server_alias: server, priority, background }
}

/** The input images of the job, as files for the form. */
export async function imagesOf ({ id, generation_params: { init_images: images = [], mask } }: Job) {
  const file = async (reference: unknown) => isInput(reference) ? await fileOfInput(id, reference.$media) : null
  const [start, covering] = await Promise.all([file(images[0]), file(mask)])
  return { init_images: start, mask: covering }
}
