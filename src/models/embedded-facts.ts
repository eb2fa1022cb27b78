import { objectOf, textOf, type JsonObject } from '../a1111/json-values.ts'
import { noFacts } from './facts.ts'
import type { ModelFacts, ModelType } from './model.ts'
import type { SafetensorsHeader } from './safetensors.ts'

/** Training tags that are named, most frequent first. */
const mostTags = 20

/** What a file says about itself: the model specification of Stability AI, and what kohya's trainer writes. */
export function embeddedFacts ({ metadata }: SafetensorsHeader): ModelFacts {
  const phrase = textOf(metadata['modelspec.trigger_phrase'])
  return {
    ...noFacts,
    name: textOf(metadata['modelspec.title']),
    baseModel: baseModelOf(metadata),
    description: textOf(metadata['modelspec.description']),
    tags: [...listOf(metadata['modelspec.tags']), ...trainingTags(metadata.ss_tag_frequency)].slice(0, mostTags),
    triggerWords: phrase === null ? [] : listOf(phrase)
  }
}

/** What kind of model the header shows; null where it does not. */
export function embeddedType ({ metadata, tensorNames }: SafetensorsHeader): ModelType | null {
  const architecture = textOf(metadata['modelspec.architecture']) ?? ''
  if (architecture.endsWith('/lora') || metadata.ss_network_module !== undefined) return 'lora'
  if (tensorNames.some(name => /lora_(up|down|A|B)|hada_w1|lokr_w1/.test(name))) return 'lora'
  if (tensorNames.some(name => name.startsWith('control_model.') || name.startsWith('controlnet_'))) return 'controlnet'
  if (tensorNames.some(name => name.startsWith('model.diffusion_model.'))) return 'checkpoint'
  if (tensorNames.some(name => name.startsWith('first_stage_model.') || name.startsWith('decoder.conv_in'))) return 'vae'
  return tensorNames.some(name => name === 'emb_params' || name === 'clip_g') ? 'embedding' : null
}

export function isLycoris ({ metadata }: SafetensorsHeader): boolean {
  return /lycoris/i.test(textOf(metadata.ss_network_module) ?? '')
}

/** Told as Forge tells it, from the architecture and else from the trainer's words. */
function baseModelOf (metadata: JsonObject): string | null {
  const said = [metadata['modelspec.architecture'], metadata.ss_base_model_version].map(value => textOf(value) ?? '').join(' ').toLowerCase()
  if (said.includes('flux')) return 'Flux'
  if (said.includes('stable-diffusion-v3') || said.includes('sd3')) return 'SD 3'
  if (said.includes('stable-diffusion-xl') || said.includes('sdxl')) return 'SDXL'
  if (said.includes('stable-diffusion-v2') || said.includes('sd_v2') || metadata.ss_v2 === 'True') return 'SD 2'
  if (said.includes('stable-diffusion-v1') || said.includes('sd_v1') || metadata.ss_v2 === 'False') return 'SD 1.5'
  return null
}

function listOf (value: unknown): string[] {
  return (textOf(value) ?? '').split(',').map(part => part.trim()).filter(part => part !== '')
}

/** `{"dataset": {"tag": count}}`, as JSON text. */
function trainingTags (value: unknown): string[] {
  const text = textOf(value)
  const frequencies = text === null ? objectOf(value) : parsed(text)
  const counts = new Map<string, number>()
  for (const tags of Object.values(frequencies ?? {})) {
    for (const [tag, count] of Object.entries(objectOf(tags) ?? {})) {
      const name = tag.trim()
      if (name !== '' && typeof count === 'number') counts.set(name, (counts.get(name) ?? 0) + count)
    }
  }
  return [...counts].sort(([, one], [, other]) => other - one).slice(0, mostTags).map(([name]) => name)
}

function parsed (text: string): JsonObject | null {
  try {
    return objectOf(JSON.parse(text))
  } catch {
    return null
  }
}
