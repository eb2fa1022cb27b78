import { numberOf, textOf, textsOf, type JsonObject } from '../json-values.ts'
import { foreignText, written, type ForeignLora, type ForeignText } from './foreign.ts'
import { samplerOf, schedulerOf } from './sampler-words.ts'

/** Steps of Fooocus' performance modes (modules/flags.py), for files that name only the mode. */
const stepsOfMode: Readonly<Record<string, number>> = {
  quality: 60, speed: 30, 'extreme speed': 8, lightning: 4, 'hyper-sd': 4
}

/** Fooocus (scheme `fooocus`) writes JSON under `parameters`, and so does RuinedFooocus with other names. */
export function isFooocus (content: JsonObject): boolean {
  const names = `${written(content.version)} ${written(content.software)}`
  return content.metadata_scheme === 'fooocus' || /fooocus/i.test(names) ||
    (typeof content.base_model === 'string' && ('performance' in content || 'guidance_scale' in content))
}

export function readFooocus (content: JsonObject): ForeignText {
  const styles = stylesOf(content.styles)
  const [, width, height] = /^\D{0,4}(\d{1,6})\D{1,4}(\d{1,6})/.exec(written(content.resolution)) ?? []
  const steps = content.steps ?? stepsOfMode[written(content.performance).toLowerCase()]
  return foreignText('Fooocus', {
    prompt: written(content.prompt ?? content.Prompt) || textsOf(content.full_prompt).join(', '),
    negativePrompt: written(content.negative_prompt ?? content.Negative) || textsOf(content.full_negative_prompt).join(', '),
    loras: lorasOf(content),
    fields: {
      Steps: steps,
      Sampler: samplerOf(written(content.sampler ?? content.sampler_name)),
      'Schedule type': schedulerOf(written(content.scheduler)),
      'CFG scale': content.guidance_scale ?? content.cfg,
      Seed: content.seed,
      Size: width === undefined || height === undefined ? sizeOf(content) : `${width}x${height}`,
      'Model hash': content.base_model_hash,
      Model: content.base_model ?? content.base_model_name,
      'Clip skip': content.clip_skip,
      ...refinerOf(content)
    },
    notes: styles === '' ? [] : [`Fooocus' styles are left out, since no other server knows them: ${styles}.`]
  })
}

function sizeOf ({ width, height }: JsonObject): string {
  return width === undefined || height === undefined ? '' : `${written(width)}x${written(height)}`
}

function refinerOf (content: JsonObject): Record<string, unknown> {
  const name = textOf(content.refiner_model)
  return name === null || name === 'None' ? {} : { Refiner: name, 'Refiner switch at': content.refiner_switch }
}

/** `['Fooocus V2', 'Fooocus Sharp']` as text, or as a list. */
function stylesOf (styles: unknown): string {
  const text = Array.isArray(styles) ? textsOf(styles).join(', ') : written(styles).replace(/^\[|\]$|'/g, '')
  return text.trim()
}

/** `loras: [[name, weight, hash]]`, and in newer files `lora_combined_1: "name : weight"` as well. */
function lorasOf (content: JsonObject): ForeignLora[] {
  const list = Array.isArray(content.loras) ? content.loras : []
  const listed = list.flatMap((entry): ForeignLora[] => {
    const [name, weight] = Array.isArray(entry) ? entry as unknown[] : []
    return typeof name === 'string' && name !== 'None' ? [{ name, weight }] : []
  })
  if (listed.length > 0) return listed
  return Object.entries(content).flatMap(([key, value]): ForeignLora[] => {
    const [, name, weight] = /^lora_combined_\d+$/.test(key) ? /^([^:]*[^:\s])\s*:\s*([\d.+-]+)/.exec(written(value)) ?? [] : []
    return name === undefined || numberOf(Number(weight)) === null ? [] : [{ name, weight }]
  })
}
