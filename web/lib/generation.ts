import type { JobRequest } from './api-types.ts'
import { numberOf } from './exact-json.ts'
import { dataUrlOf } from './images.ts'
import { withInputs } from './inputs.ts'

/** From the form of the Create page to a request. */

/** Reused parameters without an input in the form; images in them belong to that job. */
export interface Further {
  readonly parameters: Readonly<Record<string, unknown>>
  readonly jobId: string
}

/** The values of the form; numbers as the user typed them. */
export interface CreateForm {
  mode: 'txt2img' | 'img2img'
  prompt: string
  negative_prompt: string
  target_server_alias: string
  priority: string
  background: boolean
  checkpoint_name: string
  vae: string
  clip_skip: string
  sampler_name: string
  scheduler: string
  steps: string
  cfg_scale: string
  width: string
  height: string
  seed: string
  batch_size: string
  n_iter: string
  enable_hr: boolean
  hr_scale: string
  hr_upscaler: string
  hr_second_pass_steps: string
  denoising_strength: string
  init_images: File | null
  mask: File | null
  resize_mode: string
  inpainting_fill: string
  inpaint_full_res: boolean
  mask_blur: string
  further: Further | null
}

export const emptyForm: CreateForm = {
  mode: 'txt2img',
  prompt: '',
  negative_prompt: '',
  target_server_alias: '',
  priority: '5',
  background: false,
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
  resize_mode: '1',
  inpainting_fill: '1',
  inpaint_full_res: false,
  mask_blur: '4',
  further: null
}

const texts = ['prompt', 'negative_prompt', 'checkpoint_name', 'vae', 'sampler_name', 'scheduler'] as const
const numbers = ['clip_skip', 'steps', 'cfg_scale', 'width', 'height', 'seed', 'batch_size', 'n_iter'] as const
const ofHires = ['hr_scale', 'hr_upscaler', 'hr_second_pass_steps'] as const
const ofMask = ['inpainting_fill', 'inpaint_full_res', 'mask_blur'] as const

/** Inputs that take their values from parameters unchanged. */
export const plainInputs: readonly Input[] = [...texts, ...numbers, ...ofHires, ...ofMask, 'denoising_strength', 'resize_mode']

/** Inputs of text, numbers and switches. */
type Input = Exclude<keyof CreateForm, 'init_images' | 'mask' | 'further'>

/** The form's values in the API's form, without empty ones. */
function given (form: CreateForm, names: readonly Input[]) {
  const numeric = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))
  const isText = (name: Input) => texts.some(text => text === name)
  return Object.fromEntries(names.map(name => [name, form[name]] as const).filter(([, value]) => value !== '')
    .map(([name, value]) => [name, !isText(name) && numeric(value) ? numberOf(value) : value]))
}

/** The parameters that a user changed, in the API's form; null for emptied ones. Input images stay what they are. */
export function changedParameters (before: CreateForm, after: CreateForm): Record<string, unknown> {
  const ofMode = after.mode === 'img2img'
    ? ['denoising_strength', 'resize_mode', ...ofMask] as const
    : ['enable_hr', 'denoising_strength', ...ofHires] as const
  const begins = after.mode === 'txt2img' && after.enable_hr && !before.enable_hr
  const wanted = after.mode === 'txt2img' && !after.enable_hr ? ['enable_hr'] as const : ofMode
  const changed = [
    ...[...texts, ...numbers].filter(name => before[name] !== after[name]),
    ...wanted.filter(name => begins || before[name] !== after[name])
  ]
  return { ...Object.fromEntries(changed.map(name => [name, null])), ...given(after, changed) }
}

/** @returns the body of POST /api/v2/generate */
export async function requestOf (form: CreateForm): Promise<JobRequest> {
  const { init_images: furtherImages = [], ...further }: { init_images?: unknown[] } = form.further === null
    ? {}
    : await withInputs(form.further.parameters, form.further.jobId) as object
  const parameters: Record<string, unknown> = {
    ...further, prompt: form.prompt, ...given(form, [...texts, ...numbers])
  }
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
    background: form.background,
    generation_params: parameters,
    app_type: 'ui',
    source_info: 'web ui'
  }
}
