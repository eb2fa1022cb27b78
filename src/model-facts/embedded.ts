import type { FileHandle } from 'node:fs/promises'
import { type JsonObject, objectOf, textOf } from '../lib/json-values.ts'
import { parseJson } from '../lib/json.ts'
import { trainedBase } from './base-models.ts'
import { type ModelFacts, type ModelType, noFacts, saysNothing, type Training } from './facts.ts'
import { plainWord, sanitiseHtml } from './sanitise.ts'

/** The limit of the format's own reader, in bytes. */
const longestHeader = 100_000_000
const headerBounds = { depth: 32, values: 3_000_000 }

export interface SafetensorsHeader {
  /** The metadata that was written when the file was created; values are text. */
  readonly metadata: JsonObject
  readonly tensorNames: readonly string[]
  /** Bytes of a whole file: where its last tensor ends. Null if the offsets of its tensors are invalid. */
  readonly end: number | null
}

/**
 * The header of a safetensors file, without the rest: eight bytes of length (little endian), then JSON
 * (huggingface/safetensors, "Format").
 * @returns null for other files
 */
export async function readSafetensorsHeader (file: FileHandle, size: number): Promise<SafetensorsHeader | null> {
  const head = Buffer.alloc(8)
  if ((await file.read(head, 0, 8, 0)).bytesRead < 8) return null
  const length = Number(head.readBigUInt64LE())
  if (length > longestHeader || length > size - 8 || length < 2) return null
  const bytes = Buffer.alloc(length)
  if ((await file.read(bytes, 0, length, 8)).bytesRead < length) return null
  try {
    const header = objectOf(parseJson('The header', bytes, headerBounds))
    if (header === null) return null
    const tensors = Object.entries(header).filter(([name]) => name !== '__metadata__').map(([, tensor]) => tensor)
    return {
      end: endOf(tensors, 8 + length),
      metadata: objectOf(header.__metadata__) ?? {},
      tensorNames: Object.keys(header).filter(name => name !== '__metadata__')
    }
  } catch {
    return null
  }
}

function endOf (tensors: readonly unknown[], begin: number): number | null {
  let end = begin
  for (const tensor of tensors) {
    const offsets = objectOf(tensor)?.data_offsets
    const [from, to] = Array.isArray(offsets) ? offsets as unknown[] : []
    if (typeof from !== 'number' || typeof to !== 'number' || !(from >= 0 && to >= from)) return null
    end = Math.max(end, begin + to)
  }
  return end
}

/** Training tags that are named, most frequent first. */
const maxTags = 20
const maxTriggerWords = 50

/** The facts in a file: the model specification of Stability AI, and the metadata of kohya's trainer. */
export function embeddedFacts ({ metadata }: SafetensorsHeader): ModelFacts {
  const phrase = textOf(metadata['modelspec.trigger_phrase'])
  const description = textOf(metadata['modelspec.description'])
  return {
    ...noFacts,
    name: plainWord(metadata['modelspec.title']),
    baseModel: baseOf(metadata),
    description: description === null ? null : sanitiseHtml(description),
    tags: [...listOf(metadata['modelspec.tags']), ...trainingTags(metadata.ss_tag_frequency)]
      .flatMap(tag => plainWord(tag) ?? []).slice(0, maxTags),
    triggerWords: (phrase === null ? [] : listOf(phrase)).flatMap(word => plainWord(word) ?? [])
      .slice(0, maxTriggerWords),
    training: trainingOf(metadata)
  }
}

/** The most letters kept of each text that a server reports, since thousands of them stay in memory. */
const longestReported = { description: 4000, other: 2000 } as const

/** The same from a server's list of LoRAs, with short texts only; null if it has no facts. */
export function factsFromServer (metadata: JsonObject): ModelFacts | null {
  const cut = Object.fromEntries(Object.entries(metadata).map(([name, value]) => typeof value === 'string'
    ? [name, value.slice(0, name === 'modelspec.description' ? longestReported.description : longestReported.other)]
    : [name, value]))
  const facts = embeddedFacts({ metadata: cut, tensorNames: [], end: null })
  return saysNothing(facts) ? null : facts
}

/** Null if the file does not describe its training. */
function trainingOf (metadata: JsonObject): Training | null {
  const [, modelHash = null] = /^(?:0x)?([0-9a-f]{12,64})$/i.exec(textOf(metadata.sshs_model_hash) ?? '') ?? []
  const [, width, height = width] = /^\D{0,3}(\d{2,5})(?:\D{1,5}(\d{2,5}))?\D{0,3}$/.exec(wordOf(metadata.ss_resolution)) ?? []
  const training: Training = {
    modelHash: modelHash?.toLowerCase() ?? null,
    outputName: plainWord(metadata.ss_output_name),
    checkpoint: plainWord(metadata.ss_sd_model_name),
    resolution: width === undefined ? null : `${width}x${height}`,
    dim: positive(metadata.ss_network_dim),
    alpha: positive(metadata.ss_network_alpha)
  }
  return Object.values(training).every(value => value === null) ? null : training
}

function wordOf (value: unknown): string {
  return typeof value === 'number' ? String(value) : textOf(value) ?? ''
}

/** Trainers write numbers as text, or words such as Dynamic instead. */
function positive (value: unknown): number | null {
  const word = wordOf(value).trim()
  const number = word === '' ? NaN : Number(word)
  return number > 0 && number <= 1_000_000 ? number : null
}

/** The type of model that the header shows; null if it does not. */
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

function baseOf (metadata: JsonObject): string | null {
  const words = [metadata['modelspec.architecture'], metadata.ss_base_model_version].flatMap(word => textOf(word) ?? [])
  const found = trainedBase(words, textOf(metadata.ss_sd_model_name) ?? '')
  if (found !== null) return found
  // trainers of the first years wrote only this
  return metadata.ss_v2 === 'True' ? 'SD 2' : metadata.ss_v2 === 'False' ? 'SD 1.5' : null
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
  return [...counts].sort(([, one], [, other]) => other - one).slice(0, maxTags).map(([name]) => name)
}

function parsed (text: string): JsonObject | null {
  try {
    return objectOf(JSON.parse(text))
  } catch {
    return null
  }
}
