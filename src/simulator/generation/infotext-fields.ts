import { readInfotext } from './infotext-read.ts'
import { generationModel, type GenerationRequest } from './request.ts'

type Setter = (value: string) => Partial<GenerationRequest>

/** Which field a parameter of an infotext fills. The checkpoint is not among them: it stays the current one. */
const setters: Readonly<Record<string, Setter>> = {
  Prompt: prompt => ({ prompt }),
  'Negative prompt': text => ({ negative_prompt: text }),
  Steps: value => ({ steps: Number(value) }),
  Sampler: name => ({ sampler_name: name }),
  'Schedule type': name => ({ scheduler: name }),
  'CFG scale': value => ({ cfg_scale: Number(value) }),
  Seed: value => ({ seed: Number(value) }),
  'Size-1': value => ({ width: Number(value) }),
  'Size-2': value => ({ height: Number(value) }),
  'Denoising strength': value => ({ denoising_strength: Number(value) }),
  'Variation seed': value => ({ subseed: Number(value) }),
  'Variation seed strength': value => ({ subseed_strength: Number(value) }),
  'Hires upscale': value => ({ enable_hr: true, hr_scale: Number(value) }),
  'Hires upscaler': name => ({ hr_upscaler: name }),
  'Hires steps': value => ({ hr_second_pass_steps: Number(value) })
}

/** Fills what a request did not set from its `infotext`, and puts the options found there into its overrides. */
export function applyInfotext (request: GenerationRequest): GenerationRequest {
  if (!request.infotext) return request
  const model = generationModel('init_images' in request ? 'img2img' : 'txt2img', 'a1111')
  const { prompt, negativePrompt, parameters } = readInfotext(request.infotext)
  const found = { Prompt: prompt, 'Negative prompt': negativePrompt, ...parameters }
  const filled: GenerationRequest = { ...request }
  for (const [name, value] of Object.entries(found)) {
    for (const [field, wanted] of Object.entries(setters[name]?.(value) ?? {})) {
      const isUntouched = field in request && Reflect.get(request, field) === model[field]?.fallback
      if (isUntouched) Reflect.set(filled, field, wanted)
    }
  }
  const clipSkip = parameters['Clip skip']
  if (clipSkip === undefined) return filled
  return { ...filled, override_settings: { CLIP_stop_at_last_layers: Number(clipSkip), ...request.override_settings } }
}
