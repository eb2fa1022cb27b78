import type { A1111ParameterName } from '../../../schemas/generation-parameters.ts'
import { definedOnly, picked } from '../field-values.ts'
import { outputSize } from '../limits.ts'
import { separateLoras } from '../lora-tags.ts'
import { a1111 } from './a1111.ts'
import type { ServerKindRules } from './kind.ts'

const plain: readonly A1111ParameterName[] = [
  'negative_prompt', 'seed', 'sampler_name', 'scheduler', 'steps', 'cfg_scale', 'width', 'height'
]
const hires: readonly A1111ParameterName[] = [
  'enable_hr', 'hr_scale', 'hr_upscaler', 'hr_resize_x', 'hr_resize_y', 'denoising_strength'
]
const img2img: readonly A1111ParameterName[] = ['init_images', 'mask', 'inpainting_mask_invert', 'denoising_strength']

/** A prompt of stable-diffusion.cpp can contain any of its settings as JSON after this, including paths. */
const settingsInPrompt = '<sd_cpp_extra_args>'
/** A1111 has some 312 options, Forge more; this server reports a handful. */
const fewOptions = 40

/**
 * The server of stable-diffusion.cpp, which has a part of A1111's fields: all images are one batch, LoRAs are a list
 * and no tags, clip skip is a field, and its one checkpoint cannot be chosen.
 */
export const sdcpp: ServerKindRules = {
  ...a1111,
  families: null,
  isSeenIn: ({ options, progress }) => progress === null && Object.keys(options).length < fewOptions,
  requestFields (mode, parameters) {
    const { prompt, loras } = separateLoras(parameters.prompt ?? '')
    const withHires = mode === 'txt2img' && parameters.enable_hr === true
    return definedOnly<unknown>({
      ...picked(parameters, [...plain, ...mode === 'img2img' ? img2img : withHires ? hires : []]),
      // something must stay between the brackets, or the rest could close up to the same words again
      prompt: prompt.replaceAll(settingsInPrompt, '(sd_cpp_extra_args)'),
      batch_size: outputSize(parameters).images,
      clip_skip: parameters.override_settings?.CLIP_stop_at_last_layers,
      hr_steps: withHires ? parameters.hr_second_pass_steps : undefined,
      lora: loras.length === 0 ? undefined : loras.map(({ name, weight }) => ({ path: name, multiplier: weight }))
    })
  },
  overrideSettings: null,
  offersExtras: false,
  // LoRAs are sent beside the prompt, by path.
  loraName: ({ path }) => path,
  schedulerName: ({ name }) => name,
  mountedLast: []
}
