import { fieldsOf, numberOf, textOf, textsOf, type JsonObject } from '../a1111/json-values.ts'
import { factsOfVersion } from '../civitai/version-facts.ts'
import { plainWord, sanitiseHtml } from '../civitai/sanitise.ts'
import { mergeFacts, noFacts, type FactsBySource } from './facts.ts'
import type { ModelFacts, ModelType } from './model.ts'

/** Our own field, for what Forge has no word for. */
export const ownersNsfw = 'marked_nsfw'

/** One sidecar: its file name and what it holds. */
export interface Sidecar {
  readonly name: string
  readonly content: JsonObject
}

/** What the sidecars of a model say, each field from the first that has it. */
export function factsOfSidecars (sidecars: readonly Sidecar[]): FactsBySource {
  const person = sidecars.flatMap(sidecar => personFacts(sidecar) ?? [])
  const civitai = sidecars.flatMap(({ content }) =>
    factsOfVersion(content, momentOf(content)) ?? factsOfVersion(content.civitai, momentOf(content)) ?? [])
  return {
    ...(person.length === 0 ? {} : { person: firstOf(person) }),
    ...(civitai.length === 0 ? {} : { civitai: firstOf(civitai) })
  }
}

/** Type that a sidecar names; Civitai's words. */
export function typeOfSidecars (sidecars: readonly Sidecar[]): ModelType | null {
  for (const { content } of sidecars) {
    const word = (textOf(fieldsOf(content.model).type) ?? textOf(content.type) ?? '').toLowerCase()
    const type = Object.hasOwn(typeWords, word) ? typeWords[word] : undefined
    if (type !== undefined) return type
  }
  return null
}

const typeWords: Readonly<Record<string, ModelType>> = {
  checkpoint: 'checkpoint',
  lora: 'lora',
  locon: 'lora',
  dora: 'lora',
  vae: 'vae',
  textualinversion: 'embedding',
  upscaler: 'upscaler',
  controlnet: 'controlnet'
}

function firstOf (facts: readonly ModelFacts[]): ModelFacts {
  return facts.reduce((first, next) => mergeFacts({ person: first, civitai: next }))
}

/** What a person wrote in the forms of A1111 and Forge, or in LoRA Manager; null where nobody did. */
function personFacts ({ name, content }: Sidecar): ModelFacts | null {
  if (name.endsWith('.metadata.json')) return managerFacts(content)
  const weight = numberOf(content['preferred weight']) ?? Number(content['preferred weight'] || Number.NaN)
  const baseModel = plainWord(content['sd version'])
  const facts: ModelFacts = {
    ...noFacts,
    baseModel: baseModel === null || baseModel === 'Unknown' ? null : baseModel,
    description: content.modelId === undefined ? plain(content.description) : null,
    notes: textOf(content.notes),
    triggerWords: wordsOf(content['activation text']),
    // Forge writes 0 where nobody moved the slider
    weight: Number.isFinite(weight) && weight !== 0 ? weight : null,
    nsfw: typeof content[ownersNsfw] === 'boolean' ? content[ownersNsfw] : null
  }
  return facts
}

function managerFacts (content: JsonObject): ModelFacts {
  return {
    ...noFacts,
    name: plainWord(content.model_name),
    baseModel: plainWord(content.base_model),
    description: plain(content.modelDescription),
    notes: textOf(content.notes),
    tags: textsOf(content.tags).flatMap(tag => plainWord(tag) ?? [])
  }
}

function plain (value: unknown): string | null {
  const text = textOf(value)
  return text === null ? null : sanitiseHtml(text)
}

function wordsOf (value: unknown): string[] {
  return (textOf(value) ?? '').split(',').map(word => word.trim()).filter(word => word !== '')
}

function momentOf (content: JsonObject): number | null {
  const moment = Date.parse(textOf(content.fetched_at) ?? textOf(content.updated_at) ?? '')
  return Number.isFinite(moment) ? moment : null
}
