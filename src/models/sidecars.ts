import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { fieldsOf, type JsonObject, numberOf, textOf, textsOf } from '../lib/json-values.ts'
import { withoutTags } from '../lib/text.ts'
import { baseModelOf } from '../model-facts/base-models.ts'
import {
  type FactsBySource, mergeFacts, type ModelFacts, type ModelFile, type ModelType, noFacts
} from '../model-facts/facts.ts'
import { plainWord, sanitiseHtml } from '../model-facts/sanitise.ts'
import { factsOfVersion, idOf, type KnownFile, versionIn } from './civitai-facts.ts'
import { draftSidecar, type MemberChanges, readSidecar, type SidecarDraft } from './sidecar-file.ts'
import { folderNames, type FolderNames, type SidecarEnding } from './walk.ts'

/** Our own field, for facts that Forge has no field for. */
const ownersNsfw = 'marked_nsfw'
/** In `.civitai.json`: the values that the service itself last wrote into Forge's file; no person wrote them. */
export const writtenForForge = 'written_for_forge'

/** One sidecar: its kind by its name, and its content. */
export interface Sidecar {
  readonly ending: SidecarEnding
  readonly content: JsonObject
}

/** Facts from the sidecars of a model, each field from the first that has it. */
export function factsOfSidecars (sidecars: readonly Sidecar[], file: KnownFile): FactsBySource {
  const civitai = sidecars.flatMap(sidecar => civitaiFacts(sidecar, file) ?? [])
  const isOurs = oursIn(sidecars, civitai)
  const person = sidecars.map(sidecar => personFacts(sidecar, isOurs, file))
  return {
    ...(person.length === 0 ? {} : { person: firstOf(person) }),
    ...(civitai.length === 0 ? {} : { civitai: firstOf(civitai) })
  }
}

/** Type that a sidecar names, in Civitai's words. */
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
function forgeFields (type: ModelType, facts: ModelFacts): Record<string, string> {
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
 * The values that the service wrote into Forge's file: by its own record and, for earlier versions and other tools, by
 * the form of Civitai's values there.
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
  // LoRA Manager puts members of Civitai's model at the top
  const { name, baseModel, description, tags } = managerWords(content)
  return mergeFacts({ civitai: nested, embedded: { ...noFacts, name, baseModel, description, tags } })
}

function firstOf (facts: readonly ModelFacts[]): ModelFacts {
  return facts.reduce((first, next) => mergeFacts({ person: first, civitai: next }))
}

/** A person's values in the forms of A1111 and Forge, or in LoRA Manager: judged by content. */
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
    // Forge writes 0 for an untouched slider
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

/** Whether it is an answer of Civitai, for a version or a model, whatever the file's name. */
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
  // everything at the top came from Civitai, unless it differs from Civitai's own member
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

function wordsOf (value: unknown): string[] {
  return (textOf(value) ?? '').split(',').map(word => word.trim()).filter(word => word !== '')
}

function momentOf (content: JsonObject): number | null {
  const timestamp = Date.parse(textOf(content.fetched_at) ?? textOf(content.updated_at) ?? '')
  return Number.isFinite(timestamp) ? timestamp : null
}

/**
 * Writes Civitai's answer beside a model: all of it into `.civitai.json`, and into Forge's own `.json` only the members
 * that Forge understands and no person has written. The former records the members written into the latter, so that
 * they never count as a person's. Call it with the lock of the folder.
 * @param answer Civitai's answer for the version
 * @throws Error for the first file that cannot be written; the other is written all the same
 */
export async function writeSidecars (file: ModelFile, facts: ModelFacts, answer: JsonObject): Promise<void> {
  const folder = dirname(file.absolutePath)
  const filename = basename(file.absolutePath)
  const names = folderNames(await readdir(folder))
  const place = (name: string) => ({ root: file.root, folder, name })
  const beside = await Promise.all(names.companionsOf(filename).sidecars.map(async ({ name, ending }) =>
    ({ ending, outcome: await readSidecar(place(name)) })))
  const sidecars = beside.flatMap(({ ending, outcome }): Sidecar[] =>
    outcome.kind === 'read' ? [{ ending, content: outcome.content }] : [])
  const isOurs = oursIn(sidecars, file.facts.civitai === undefined ? [] : [file.facts.civitai])
  const wanted = forgeFields(file.type, facts)
  const written: Record<string, unknown> = {}
  const problems: unknown[] = []

  /** First, so that a crash in between leaves a record of the values. */
  async function writeForge (): Promise<void> {
    const name = names.sidecarFor(filename, '.json')
    // Forge reads no other file, and would use this one for both of two models with one stem
    if (name === null || name === `${filename}.json`) return
    const draft = await draftSidecar(place(name), before => {
      const changes: Record<string, unknown> = {}
      for (const field of ['description', 'sd version', 'activation text']) {
        const [present, value] = [before[field], wanted[field]]
        if (!isEmpty(present) && !isOurs(field, present) && present !== value) continue
        if (value !== undefined) written[field] = value
        if (present !== value && !(value === undefined && isEmpty(present))) changes[field] = value
      }
      return changes
    })
    await draft.write()
  }

  async function writeOwn (): Promise<void> {
    const name = names.sidecarFor(filename, '.civitai.json')
    if (name === null) throw new Error('every name that its .civitai.json file could have is another model\'s')
    const draft = await draftSidecar(place(name), before => ({
      ...isSameVersion(before, answer)
        ? {}
        : Object.fromEntries(Object.keys(before).filter(isCivitaiField).map(field => [field, undefined])),
      ...answer,
      fetched_at: new Date().toISOString(),
      ...Object.keys(written).length > 0 || before[writtenForForge] !== undefined ? { [writtenForForge]: written } : {}
    }))
    await draft.write()
  }

  await writeForge().catch(error => { problems.push(error) })
  await writeOwn().catch(error => { problems.push(error) })
  if (problems.length > 0) throw problems[0]
}

/** Facts of another version, or another model, do not stay beside the facts of this one. */
function isSameVersion (before: JsonObject, answer: JsonObject): boolean {
  const ids = (content: JsonObject) => [idOf(content.id), idOf(content.modelId) ?? idOf(fieldsOf(content.model).id)]
  return ids(before).join() === ids(answer).join()
}

function isEmpty (value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 'Unknown'
}

export const ownerFields = ['civitai_nsfw', 'description', 'notes', 'trigger_words', 'recommended_weight'] as const
export type OwnerField = (typeof ownerFields)[number]

interface Place {
  readonly ending: '.json' | '.civitai.json'
  readonly name: string
  readonly wanted: string
  readonly fits: (value: unknown) => boolean
}

const isText = (value: unknown) => typeof value === 'string' && value.length <= 20_000
const isWeight = (value: unknown) => typeof value === 'number' && Math.abs(value) <= 10
const forge = (name: string, wanted: string, fits: Place['fits']): Place => ({ ending: '.json', name, wanted, fits })

/** Members that Forge understands go into Forge's file, in its words; the rest into ours. */
const places: Readonly<Record<OwnerField, Place>> = {
  civitai_nsfw: {
    ending: '.civitai.json', name: ownersNsfw, wanted: 'true or false', fits: value => typeof value === 'boolean'
  },
  description: forge('description', 'a text', isText),
  notes: forge('notes', 'a text', isText),
  trigger_words: forge('activation text', 'a text, or a list of texts', value =>
    isText(value) || (Array.isArray(value) && value.length <= 200 && value.every(isText))),
  recommended_weight: forge('preferred weight', 'a number from -10 to 10', isWeight)
}

/** @throws ServiceError `invalid_field_value` */
export function requireOwnerValue (field: OwnerField, value: unknown): void {
  const { wanted, fits } = places[field]
  if (value !== null && !fits(value)) {
    throw new ServiceError('invalid_field_value', `value of ${field} must be ${wanted}, or null.`, { field: 'value' })
  }
}

/**
 * Writes a person's values beside a model's file; null removes one. Everything else in the files stays.
 * @throws Error if it cannot be written
 */
export async function draftOwnerField (
  { root, absolutePath }: ModelFile, names: FolderNames, field: OwnerField, value: unknown
): Promise<SidecarDraft[]> {
  const { ending, name: member } = places[field]
  const filename = basename(absolutePath)
  const place = (name: string) => ({ root, folder: dirname(absolutePath), name })
  if (value === null) {
    // LoRA Manager calls notes the same
    const holding = names.companionsOf(filename).sidecars.filter(sidecar => names.ownersOf(sidecar.name).length === 1 &&
      (sidecar.ending === ending || (field === 'notes' && sidecar.ending === '.metadata.json')))
    const drafts = await Promise.all(holding.map(async sidecar => {
      const draft = draftSidecar(place(sidecar.name), content =>
        Object.hasOwn(content, member) ? { [member]: undefined } : {})
      // nothing of LoRA Manager's file is shown while it cannot be read
      return await draft.catch(error => sidecar.ending === ending ? Promise.reject(error) : null)
    }))
    return drafts.filter(draft => draft !== null)
  }
  const name = names.sidecarFor(filename, ending)
  if (name === null) throw new Error(`every name that its ${ending} file could have is another model's`)
  const written = Array.isArray(value) ? value.join(', ') : value
  return [await draftSidecar(place(name), () => ({ [member]: written }))]
}

/** People's words beside several equal files, together: none is lost, and none repeats. */
export function combinedPerson (facts: readonly ModelFacts[]): ModelFacts {
  const first = facts.reduce((one, other) => mergeFacts({ person: one, civitai: other }), noFacts)
  return {
    ...first,
    notes: facts.reduce<string | null>((one, { notes }) => combinedText(one, notes), null),
    triggerWords: [...new Set(facts.flatMap(({ triggerWords }) => triggerWords))]
  }
}

function combinedText (one: string | null, other: string | null): string | null {
  if (other === null || one?.includes(other) === true) return one
  return one === null || other.includes(one) ? other : `${one}\n\n${other}`
}

/** Members whose texts are joined if two files have different ones. */
const texts = ['notes', 'description']

/**
 * The changes to one sidecar that keep everything of another of its kind. If two values cannot be joined, the present
 * one stays and the notes get the other.
 * @param from location of the other, for the notes
 */
export function combinedMembers (
  present: JsonObject, other: JsonObject, from: string, notesBefore: string | null = textOf(present.notes)
): { readonly changes: MemberChanges, readonly notes: string | null } {
  const changes: Record<string, unknown> = {}
  let notes = notesBefore
  for (const [member, value] of Object.entries(other)) {
    const before = present[member]
    if (isNothing(value) || stringifyJson(before) === stringifyJson(value)) continue
    if (member === 'notes' && typeof value === 'string') {
      notes = combinedText(notes, value)
    } else if (isNothing(before)) {
      changes[member] = value
    } else if (texts.includes(member) && typeof before === 'string' && typeof value === 'string') {
      const both = combinedText(before, value)
      if (both !== before) changes[member] = both
    } else if (member === 'activation text' && typeof before === 'string' && typeof value === 'string') {
      const both = [...new Set([...wordsOf(before), ...wordsOf(value)])].join(', ')
      if (both !== before) changes[member] = both
    } else {
      const said = typeof value === 'string' ? value : stringifyJson(value)
      notes = combinedText(notes, `${member} beside ${from}: ${said}`)
    }
  }
  return { changes, notes }
}

/** Values that the forms of Forge and LoRA Manager write by default. */
function isNothing (value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 'Unknown' || value === 0 ||
    (Array.isArray(value) && value.length === 0) ||
    (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
}
