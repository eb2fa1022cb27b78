import type { Parameters } from './api-types.ts'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/job.ts'
/** The parameters of a job, grouped for readers. */

const groups: ReadonlyArray<readonly [string, readonly string[]]> = [
  [t.model, ['checkpoint_name', 'vae', 'clip_skip', 'refiner_checkpoint', 'refiner_switch_at', 'styles', 'loras']],
  [t.sampling, [
    'seed', 'steps', 'sampler_name', 'scheduler', 'cfg_scale', 'distilled_cfg_scale', 'subseed', 'subseed_strength', 'eta'
  ]],
  [t.picture, ['width', 'height', 'n_iter', 'batch_size', 'tiling', 'restore_faces']],
  [t.startImage, [
    'init_images', 'mask', 'denoising_strength', 'resize_mode', 'mask_blur', 'inpainting_fill', 'inpaint_full_res',
    'inpaint_full_res_padding', 'inpainting_mask_invert'
  ]],
  [t.hiresFix, [
    'enable_hr', 'hr_scale', 'hr_upscaler', 'hr_second_pass_steps', 'hr_resize_x', 'hr_resize_y', 'hr_checkpoint_name',
    'hr_sampler_name', 'hr_scheduler', 'hr_prompt', 'hr_negative_prompt', 'hr_cfg'
  ]]
]

const words: Readonly<Record<string, string>> = {
  checkpoint_name: t.requestedCheckpoint,
  vae: common.vae,
  clip_skip: t.clipSkip,
  refiner_checkpoint: t.refiner,
  refiner_switch_at: t.refinerAt,
  styles: t.styles,
  seed: common.seed,
  steps: common.steps,
  sampler_name: common.sampler,
  scheduler: common.scheduler,
  cfg_scale: common.cfgScale,
  subseed: t.variationSeed,
  subseed_strength: t.variation,
  width: t.width,
  height: t.height,
  n_iter: t.batchCount,
  batch_size: t.batchSize,
  init_images: t.images,
  mask: t.mask,
  denoising_strength: common.denoising,
  hr_scale: t.upscaleBy,
  hr_upscaler: common.upscaler,
  hr_second_pass_steps: common.steps,
  enable_hr: t.on,
  tiling: t.tiling,
  restore_faces: t.faceRepair
}

const shownSeparately = new Set(['prompt', 'positive_prompt', 'negative_prompt'])
const known = new Set(groups.flatMap(([, names]) => names))

/**
 * @returns groups that are not empty
 */
export function groupsOf (parameters: Parameters): Array<{ title: string, facts: Array<readonly [string, string]> }> {
  const isEmpty = (value: unknown) => value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
  const isThere = (name: string) => !shownSeparately.has(name) && !isEmpty(parameters[name])
  const others = Object.keys(parameters).filter(name => !known.has(name))
  return [...groups, [t.further, others] as const]
    .map(([title, names]) => ({
      title, facts: names.filter(isThere).map(name => [words[name] ?? name, valueText(parameters[name])] as const)
    }))
    .filter(({ facts }) => facts.length > 0)
}

function valueText (value: unknown) {
  if (Array.isArray(value) && value.every(isImage)) return t.storedCount(value.length)
  if (isImage(value)) return t.stored
  if (value === true) return t.yes
  if (value === false) return t.no
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function isImage (value: unknown) {
  return typeof value === 'object' && value !== null && '$media' in value
}
