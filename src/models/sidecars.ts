import { fieldsOf, numberOf, textOf, textsOf, type JsonObject } from '../a1111/json-values.ts'
import { factsOfVersion, versionIn, type KnownFile } from '../civitai/version-facts.ts'
import { plainWord, sanitiseHtml } from '../civitai/sanitise.ts'
import { withoutTags } from '../lib/text.ts'
import { baseModelOf } from './base-models.ts'
import type { SidecarEnding } from './companions.ts'
import { mergeFacts, noFacts, type FactsBySource } from './facts.ts'
import type { ModelFacts, ModelType } from './model.ts'

/** Our own field, for what Forge has no word for. */
export const ownersNsfw = 'marked_nsfw'
/** In `.civitai.json`: what the service itself last wrote into Forge's file, which is nobody's word. */
export const writtenForForge = 'written_for_forge'

/** One sidecar: what kind it is by its name, and what it holds. */
export interface Sidecar {
  readonly ending: SidecarEnding
  readonly content: JsonObject
}

/** What the sidecars of a model say, each field from the first that has it. */
export function factsOfSidecars (sidecars: readonly Sidecar[], file: KnownFile): FactsBySource {
  const civitai = sidecars.flatMap(sidecar => civitaiFacts(sidecar, file) ?? [])
  const isOurs = oursIn(sidecars, civitai)
  const person = sidecars.map(sidecar => personFacts(sidecar, isOurs, file))
  return {
    ...(person.length === 0 ? {} : { person: firstOf(person) }),
    ...(civitai.length === 0 ? {} : { civitai: firstOf(civitai) })
  }
}

/** Type that a sidecar names; Civitai's words. */
export function typeOfSidecars (sidecars: ReadonlyArray<{ readonly content: JsonObject }>): ModelType | null {
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

/** The fields of Forge's user metadata that Civitai can fill. */
export function forgeFields (type: ModelType, facts: ModelFacts): Record<string, string> {
  const description = withoutTags((facts.description ?? '').replace(/<br\s*\/?>|<\/(p|li|h\d)>/gi, '\n'), '').trim()
  const version = forgeVersion(facts.baseModel ?? '')
  return {
    ...(description === '' ? {} : { description }),
    ...(type === 'lora' && version !== null ? { 'sd version': version } : {}),
    ...(type === 'lora' && facts.triggerWords.length > 0 ? { 'activation text': facts.triggerWords.join(', ') } : {})
  }
}

/** Forge's word for a base model; null for those that it has none for. */
function forgeVersion (baseModel: string): string | null {
  const words: Readonly<Record<string, string>> = { 'SD 1': 'SD1', 'SD 2': 'SD2', SDXL: 'SDXL' }
  return words[baseModelOf(baseModel)?.family ?? ''] ?? null
}

/** Whether a value of Forge's file only repeats what Civitai says. */
export type IsOurs = (field: string, value: unknown) => boolean

/**
 * What the service wrote into Forge's file, by its own note and, for those of earlier versions and of other tools, by
 * what Civitai's words look like there.
 */
export function oursIn (sidecars: readonly Sidecar[], civitai: readonly ModelFacts[]): IsOurs {
  const written = sidecars.map(({ content }) => fieldsOf(content[writtenForForge]))
  const known: JsonObject[] = [...written, ...civitai.map(facts => forgeFields('lora', facts))]
  return (field, value) => {
    const text = textOf(value)
    return text !== null && known.some(fields => {
      const ours = textOf(fields[field])
      return ours !== null && isSameText(ours, text)
    })
  }
}

function isSameText (one: string, other: string): boolean {
  const plain = (text: string) => text.split(/[\s,]+/).filter(word => word !== '').join(' ')
  return plain(one) === plain(other)
}

function civitaiFacts ({ ending, content }: Sidecar, file: KnownFile): ModelFacts | null {
  const answer = versionIn(content, file)
  const own = factsOfVersion(answer, momentOf(content))
  if (own !== null) return own
  const nested = factsOfVersion(versionIn(content.civitai, file), momentOf(content))
  if (nested === null || ending !== '.metadata.json') return nested
  // LoRA Manager lays what it took from Civitai's model at the top
  const { name, baseModel, description, tags } = managerWords(content)
  return mergeFacts({ civitai: nested, embedded: { ...noFacts, name, baseModel, description, tags } })
}

function firstOf (facts: readonly ModelFacts[]): ModelFacts {
  return facts.reduce((first, next) => mergeFacts({ person: first, civitai: next }))
}

/** What a person wrote in the forms of A1111 and Forge, or in LoRA Manager: judged by what it says. */
function personFacts ({ ending, content }: Sidecar, isOurs: IsOurs, file: KnownFile): ModelFacts {
  if (ending === '.civitai.info') return noFacts
  if (ending === '.metadata.json') return managerFacts(content, file)
  const weight = numberOf(content['preferred weight']) ?? Number(content['preferred weight'] || Number.NaN)
  const own = (field: string) => isOurs(field, content[field]) ? undefined : content[field]
  const baseModel = plainWord(own('sd version'))
  return {
    ...noFacts,
    baseModel: baseModel === null || baseModel === 'Unknown' ? null : baseModel,
    // Civitai's own answers have a description, too
    description: isAnswer(content) ? null : plain(own('description')),
    notes: textOf(content.notes),
    triggerWords: wordsOf(own('activation text')),
    // Forge writes 0 where nobody moved the slider
    weight: Number.isFinite(weight) && weight !== 0 ? weight : null,
    nsfw: typeof content[ownersNsfw] === 'boolean' ? content[ownersNsfw] : null
  }
}

/** Members of Civitai's answers for a version or a model. */
const civitaiFields = new Set(['id', 'modelId', 'name', 'type', 'nsfw', 'nsfwLevel', 'description', 'tags', 'stats', 'model',
  'modelVersions', 'createdAt', 'updatedAt', 'publishedAt', 'status', 'availability', 'trainedWords', 'trainingStatus',
  'trainingDetails', 'baseModel', 'baseModelType', 'earlyAccessEndsAt', 'earlyAccessConfig', 'earlyAccessTimeFrame',
  'uploadType', 'usageControl', 'air', 'files', 'images', 'downloadUrl', 'index', 'creator', 'poi', 'minor', 'sfwOnly',
  'fetched_at'])

export function isCivitaiField (name: string): boolean {
  return civitaiFields.has(name)
}

/** Whether it is an answer of Civitai, for a version or a model, whatever the file is called. */
function isAnswer (content: JsonObject): boolean {
  return content.modelId !== undefined || content.modelVersions !== undefined || content.trainedWords !== undefined ||
    (content.id !== undefined && content.model !== undefined)
}

function managerFacts (content: JsonObject, { filename }: KnownFile): ModelFacts {
  const words = managerWords(content)
  const notes = textOf(content.notes)
  const civitai = fieldsOf(content.civitai)
  if (Object.keys(civitai).length === 0 || content.from_civitai === false) {
    const isFileName = words.name !== null && (words.name === content.file_name || filename.startsWith(`${words.name}.`))
    return { ...noFacts, ...words, name: isFileName ? null : words.name, notes }
  }
  // all that is at the top came from Civitai, unless it says something else than that
  const model = fieldsOf(civitai.model)
  const name = textOf(model.name)
  const base = textOf(civitai.baseModel)
  return {
    ...noFacts,
    name: name === null || words.name === plainWord(name) || words.name === content.file_name ? null : words.name,
    baseModel: base === null || words.baseModel === plainWord(base) ? null : words.baseModel,
    notes
  }
}

function managerWords (content: JsonObject): Pick<ModelFacts, 'name' | 'baseModel' | 'description' | 'tags'> {
  return {
    name: plainWord(content.model_name),
    baseModel: plainWord(content.base_model),
    description: plain(content.modelDescription),
    tags: textsOf(content.tags).flatMap(tag => plainWord(tag) ?? [])
  }
}

function plain (value: unknown): string | null {
  const text = textOf(value)
  return text === null ? null : sanitiseHtml(text)
}

export function wordsOf (value: unknown): string[] {
  return (textOf(value) ?? '').split(',').map(word => word.trim()).filter(word => word !== '')
}

function momentOf (content: JsonObject): number | null {
  const moment = Date.parse(textOf(content.fetched_at) ?? textOf(content.updated_at) ?? '')
  return Number.isFinite(moment) ? moment : null
}
