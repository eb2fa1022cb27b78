import type { ModelType } from '../../schemas/model.ts'
import { baseModelOf } from './base-models.ts'

export type { ModelType }

/** What is told about a model by one source; null or empty where that source is silent. */
export interface ModelFacts {
  readonly name: string | null
  readonly baseModel: string | null
  /** HTML of a few harmless tags, or plain text. */
  readonly description: string | null
  readonly notes: string | null
  readonly tags: readonly string[]
  readonly triggerWords: readonly string[]
  /** Recommended weight of a LoRA. */
  readonly weight: number | null
  /** Whether it is not safe for work, where its owner said so; Civitai's word is in `civitai`. */
  readonly nsfw: boolean | null
  readonly civitai: CivitaiFacts | null
  /** Absent in what earlier versions kept. */
  readonly training?: Training | null
}

/** How a LoRA was made, as its trainer wrote into the file; null where it did not. */
export interface Training {
  /** SHA-256 of its tensors without the header, in lower case: Civitai's AutoV3 is its first twelve digits. */
  readonly modelHash: string | null
  /** The name that it was saved under. */
  readonly outputName: string | null
  /** File name of the checkpoint that it was trained on. */
  readonly checkpoint: string | null
  /** Of the pictures, such as 512x768. */
  readonly resolution: string | null
  readonly dim: number | null
  readonly alpha: number | null
}

/** What Civitai knows about the version of a model that a file is. */
export interface CivitaiFacts {
  readonly modelId: number | null
  readonly versionId: number | null
  readonly modelName: string | null
  readonly versionName: string | null
  /** Civitai's own word, such as LORA or LoCon. */
  readonly type: string | null
  readonly nsfw: boolean
  readonly downloadUrl: string | null
  readonly images: readonly CivitaiImage[]
  /** Milliseconds since the epoch; null where a file of unknown age told it. */
  readonly fetchedAt: number | null
  /** Absent in what earlier versions kept. */
  readonly stats?: CivitaiStats
}

/** What people at Civitai made of a version; null where it does not say. */
export interface CivitaiStats {
  readonly downloads: number | null
  readonly favorited: number | null
  readonly rating: number | null
}

export interface CivitaiImage {
  readonly url: string
  readonly nsfw: boolean
  readonly width: number | null
  readonly height: number | null
}

/** Who told the facts of a model, from the one who is believed first. */
const factSources = ['person', 'civitai', 'embedded'] as const
type FactSource = (typeof factSources)[number]

/** A model file that this machine can see. Moments are milliseconds since the epoch. */
export interface ModelFile {
  /** Real path on this machine; never leaves it. */
  readonly absolutePath: string
  /** Real path of the configured folder that it was found in. */
  readonly root: string
  /** From the folder of its type on, with forward slashes: how a server of the same folders would name it. */
  readonly path: string
  readonly type: ModelType
  readonly lycoris: boolean
  readonly size: number
  readonly createdAt: number
  readonly modifiedAt: number
  /** Device and inode, which stay when a file is renamed. */
  readonly inode: string
  /** Of the whole file, lower case; null until it was computed. */
  readonly sha256: string | null
  /** First 12 digits of the SHA-256 of the tensors without header, as Civitai names LoRAs. */
  readonly autoV3: string | null
  readonly facts: Readonly<Partial<Record<FactSource, ModelFacts>>>
  /** File names of preview images beside it. */
  readonly previews: readonly string[]
  /** Sidecars that could not be read, and why; absent in what earlier versions kept. */
  readonly unreadable?: ReadonlyArray<{ readonly name: string, readonly reason: string }>
  /** Whether its sidecars are about several versions, of which only its hash tells which it is. */
  readonly awaitsHash?: boolean
  /** Names and times of all files that were read beside it, to notice when one changes. */
  readonly companions: string
}

/** What one server reports about one model. */
export interface ReportedModel {
  readonly serverId: string
  readonly type: ModelType
  /** The server's own exact name; the form to send to it. */
  readonly title: string
  readonly alias: string | null
  readonly lycoris: boolean
  /** Absolute path at the server, or empty. */
  readonly absolutePath: string
  /** Within the server's folder for the type, with forward slashes. */
  readonly path: string
  readonly sha256: string | null
  /** First ten digits of the SHA-256. */
  readonly shortHash: string | null
  /** What the server tells of what is written in the file; null where it tells nothing. */
  readonly serverFacts: ModelFacts | null
}

/** One model of the catalogue, wherever it is. */
export interface Model {
  /** Stays the same while any of its hashes or paths does. */
  readonly id: number
  readonly type: ModelType
  readonly lycoris: boolean
  /** File name with ending where that is known. */
  readonly filename: string
  readonly path: string
  readonly sha256: string | null
  /** First ten digits of the SHA-256, as A1111 and Civitai (AutoV2) name files. */
  readonly shortHash: string | null
  /** First twelve digits of the SHA-256 of a LoRA's tensors, as a file here has it or else its trainer wrote. */
  readonly autoV3: string | null
  /** Equal files on this machine, the first path first. */
  readonly files: readonly ModelFile[]
  readonly reported: readonly ReportedModel[]
  /** What all sources together say, each field from the one believed first. */
  readonly facts: ModelFacts
  readonly sources: readonly FactSource[]
}

export const noFacts: ModelFacts = {
  name: null,
  baseModel: null,
  description: null,
  notes: null,
  tags: [],
  triggerWords: [],
  weight: null,
  nsfw: null,
  civitai: null,
  training: null
}

export type FactsBySource = Readonly<Partial<Record<FactSource, ModelFacts>>>

/**
 * What all sources say together: of each field the first that says anything, a person before Civitai before the
 * file itself. Tags are gathered from all.
 */
export function mergeFacts (bySource: FactsBySource): ModelFacts {
  const known = factSources.flatMap(source => bySource[source] ?? [])
  const first = <Name extends keyof ModelFacts>(name: Name): ModelFacts[Name] =>
    known.find(facts => !isNothing(facts[name]))?.[name] ?? noFacts[name]
  return {
    name: first('name'),
    baseModel: finestBase(known.flatMap(({ baseModel }) => baseModel ?? [])),
    description: first('description'),
    notes: first('notes'),
    tags: [...new Set(known.flatMap(({ tags }) => tags))],
    triggerWords: first('triggerWords'),
    weight: first('weight'),
    nsfw: first('nsfw'),
    civitai: first('civitai'),
    training: first('training') ?? null
  }
}

/** Forge's list of base models is coarse, so that one who chose there could not say which SDXL it is. */
const coarse = /^sd ?(?:1|2|xl)$/i

/** The first word, unless it is a coarse one and another makes it finer. */
function finestBase (words: readonly string[]): string | null {
  const [first = null] = words
  if (first === null || !coarse.test(first.trim())) return first
  const known = baseModelOf(first)
  return words.find(word => {
    const other = baseModelOf(word)
    return !coarse.test(word.trim()) && other?.family === known?.family && other?.name !== known?.name
  }) ?? first
}

/** Sources that say anything, from the one believed first. */
export function sourcesOf (bySource: FactsBySource): FactSource[] {
  return factSources.filter(source => !saysNothing(bySource[source] ?? {}))
}

export function saysNothing (facts: Readonly<Partial<ModelFacts>>): boolean {
  return Object.values(facts).every(isNothing)
}

function isNothing (value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}
