import {
  advancedPassedOn, passedOn, type BotImg2imgRequest, type BotTxt2imgRequest
} from '../../schemas/bots-generation.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { definedOnly } from '../a1111/field-values.ts'
import { loraNames } from '../a1111/lora-tags.ts'
import { bareName } from '../a1111/names.ts'
import { fitted } from './outpaint.ts'
import type { Size } from './images.ts'

type Given = Record<string, unknown>

/** Distinguishes a default from a request: the fields as the client and its user's stored defaults gave them. */
export type Said = Readonly<Record<string, unknown>>

export function says (said: Said, name: string): boolean {
  return said[name] !== undefined && said[name] !== null
}

/** A request's fields under A1111's names. The default sampler is only a proposal: a server without it uses its own. */
export function defaultParameters (fields: BotTxt2imgRequest, said: Said): Given {
  const sampler = says(said, 'sampler_name')
    ? { sampler_name: fields.sampler_name }
    : { sampling_category: fields.sampler_name }
  return {
    prompt: fields.prompt,
    negative_prompt: fields.negative_prompt,
    ...sampler,
    steps: fields.steps,
    cfg_scale: fields.cfg_scale,
    n_iter: fields.batch_count,
    batch_size: fields.batch_size,
    seed: fields.seed,
    ...presentOnly({ checkpoint: fields.checkpoint, vae: fields.vae }),
    ...presentOnly(Object.fromEntries([...passedOn, ...advancedPassedOn].map(name => [name, fields[name]]))),
    ...withEtaNoiseSeedDelta(fields)
  }
}

function withEtaNoiseSeedDelta (fields: BotTxt2imgRequest): Given {
  const delta = fields.eta_noise_seed_delta ?? fields.ensd
  return delta === null ? {} : { override_settings: { eta_noise_seed_delta: delta, ...fields.override_settings } }
}

/** Hires fix with all of its parameters, or none of them. */
export function hiresParameters (fields: BotTxt2imgRequest): Given {
  if (!fields.enable_hr) return {}
  return {
    enable_hr: true,
    hr_scale: fields.hr_scale,
    hr_second_pass_steps: fields.hr_second_pass_steps,
    denoising_strength: fields.denoising_strength,
    ...presentOnly({ hr_upscaler: fields.hr_upscaler })
  }
}

/** The image to start from, and a mask with all of its parameters. */
export function imageParameters (fields: BotImg2imgRequest): Given {
  const mask = fields.mask === null
    ? {}
    : {
        mask: fields.mask,
        mask_blur: fields.mask_blur,
        inpainting_fill: fields.inpainting_fill,
        inpaint_full_res: fields.inpaint_full_res,
        inpaint_full_res_padding: fields.inpaint_full_res_padding,
        inpainting_mask_invert: fields.inpainting_mask_invert
      }
  return {
    mode: 'img2img',
    init_images: [fields.image],
    resize_mode: fields.resize_mode,
    denoising_strength: fields.denoising_strength,
    ...mask
  }
}

/** The requested size, reduced to the user's limit, and the warning about it. */
export function sizeParameters (asked: Size, maxPixels: number): { size: Size, warnings: Warning[] } {
  const size = fitted(asked, maxPixels)
  if (asked.width * asked.height <= maxPixels) return { size, warnings: [] }
  return {
    size,
    warnings: [{
      code: 'size_reduced',
      message: `${asked.width}x${asked.height} exceeds the limit, so ${size.width}x${size.height} is generated.`,
      field: 'width'
    }]
  }
}

function presentOnly (values: Readonly<Record<string, unknown>>): Given {
  return definedOnly(Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value ?? undefined])))
}

/** File name and weight. */
export type WeightedLora = readonly [filename: string, weight: number]

/**
 * Tags for LoRAs that the prompt does not name itself: A1111 adds the weights of two equal tags. A tag names a LoRA
 * without folder and extension; weights are written as Python writes them, `1.0` for 1.
 */
export function loraTags (prompt: string, loras: readonly WeightedLora[]): string {
  const named = new Set(loraNames(prompt).map(name => bareName(name).toLowerCase()))
  return loras
    .filter(([filename]) => !named.has(bareName(filename).toLowerCase()))
    .map(([filename, weight]) => `<lora:${bareName(filename)}:${Number.isInteger(weight) ? weight.toFixed(1) : weight}>`)
    .join(' ')
}

/**
 * The remembered LoRAs, then those of the request, whose weights win. Each once, in whatever spelling: of two entries
 * the later one counts.
 */
export function mergedLoras (own: readonly WeightedLora[], remembered: readonly WeightedLora[]): WeightedLora[] {
  const byName = new Map<string, WeightedLora>()
  for (const lora of [...remembered, ...own]) {
    const name = bareName(lora[0]).toLowerCase()
    byName.delete(name)
    byName.set(name, lora)
  }
  return [...byName.values()]
}
