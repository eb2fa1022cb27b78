import type { ModelType } from '../../schemas/model.ts'
import { baseModelOf } from './base-models.ts'

export type { ModelType }

/** The facts about a model from one source; null or empty if the source has none. */
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
  /** Whether it is not safe for work, if its owner said so; Civitai's rating is in `civitai`. */
  readonly nsfw: boolean | null
  readonly civitai: CivitaiFacts | null
  /** Absent in records of earlier versions. */
  readonly training?: Training | null
}

/** How a LoRA was trained, as its trainer wrote into the file; null if it did not. */
export interface Training {
  /**
   * SHA-256 of its tensors without the header, in lower case, as it was written. Where it was written right and the
   * tensors are still the same, its first twelve digits are Civitai's AutoV3; newer files are known to Civitai by those
   * of the written one as well (its type SSHS_12).
   */
  readonly modelHash: string | null
  /** The name under which it was saved. */
  readonly outputName: string | null
  /** File name of the checkpoint that it was trained on. */
  readonly checkpoint: string | null
  /** Resolution of the training images, such as 512x768. */
  readonly resolution: string | null
  readonly dim: number | null
  readonly alpha: number | null
}

/** Civitai's facts about the model version of a file. */
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
  /** Milliseconds since the epoch; null if they came from a file of unknown age. */
  readonly fetchedAt: number | null
  /** Absent in records of earlier versions. */
  readonly stats?: CivitaiStats
}

/** Civitai's ratings of a version; null for unknown ones. */
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

/** The sources of facts, the most trusted first. */
const factSources = ['person', 'civitai', 'embedded'] as const
type FactSource = (typeof factSources)[number]

/** A model file that this machine can see. Timestamps are milliseconds since the epoch. */
export interface ModelFile {
  /** Real path on this machine; never leaves it. */
  readonly absolutePath: string
  /** Real path of the configured folder that it was found in. */
  readonly root: string
  /**
   * Path within the folder of its type, with forward slashes: a server with the same folders would name it like this.
   */
  readonly path: string
  readonly type: ModelType
  readonly lycoris: boolean
  readonly size: number
  readonly createdAt: number
  readonly modifiedAt: number
  /** Device and inode, which do not change when a file is renamed. */
  readonly inode: string
  /** Hash of the whole file, lower case; null until it is computed. */
  readonly sha256: string | null
  /** First 12 digits of the SHA-256 of the tensors without header, as Civitai names LoRAs. */
  readonly autoV3: string | null
  readonly facts: Readonly<Partial<Record<FactSource, ModelFacts>>>
  /** File names of preview images beside it. */
  readonly previews: readonly string[]
  /** Sidecars that could not be read, and why; absent in records of earlier versions. */
  readonly unreadable?: ReadonlyArray<{ readonly name: string, readonly reason: string }>
  /** Whether its sidecars describe several versions, so that only its hash identifies the right one. */
  readonly awaitsHash?: boolean
  /** Names and times of all files that were read beside it, to notice when one changes. */
  readonly companions: string
}

/** One server's report about one model. */
export interface ReportedModel {
  readonly serverId: string
  readonly type: ModelType
  /** The server's own exact name; the form to send to it. */
  readonly title: string
  readonly alias: string | null
  readonly lycoris: boolean
  /** Absolute path at the server, or empty. */
  readonly absolutePath: string
  /** Path within the server's folder for the type, with forward slashes. */
  readonly path: string
  readonly sha256: string | null
  /** First ten digits of the SHA-256. */
  readonly shortHash: string | null
  /** The metadata of the file that the server reports; null if it reports none. */
  readonly serverFacts: ModelFacts | null
}

/** One model of the catalogue, wherever its files are. */
export interface Model {
  /** Does not change while any of its hashes or paths stays the same. */
  readonly id: number
  readonly type: ModelType
  readonly lycoris: boolean
  /** File name, with its extension if known. */
  readonly filename: string
  readonly path: string
  readonly sha256: string | null
  /** First ten digits of the SHA-256, as A1111 and Civitai (AutoV2) name files. */
  readonly shortHash: string | null
  /** First twelve digits of the SHA-256 of a LoRA's tensors, from a file here or else from its trainer. */
  readonly autoV3: string | null
  /** Equal files on this machine, the first path first. */
  readonly files: readonly ModelFile[]
  readonly reported: readonly ReportedModel[]
  /** The merged facts of all sources, each field from the most trusted one. */
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
 * Merges the facts of all sources: each field from the first source that has it, a person before Civitai before the
 * file itself. Tags come from all sources.
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

/** Forge's list of base models is coarse, so that a person who chose there could not specify the kind of SDXL. */
const coarse = /^sd ?(?:1|2|xl)$/i

/** The first word, unless it is coarse and another one is more specific. */
function finestBase (words: readonly string[]): string | null {
  const [first = null] = words
  if (first === null || !coarse.test(first.trim())) return first
  const known = baseModelOf(first)
  return words.find(word => {
    const other = baseModelOf(word)
    return !coarse.test(word.trim()) && other?.family === known?.family && other?.name !== known?.name
  }) ?? first
}

/** Sources that have any facts, the most trusted first. */
export function sourcesOf (bySource: FactsBySource): FactSource[] {
  return factSources.filter(source => !saysNothing(bySource[source] ?? {}))
}

export function saysNothing (facts: Readonly<Partial<ModelFacts>>): boolean {
  return Object.values(facts).every(isNothing)
}

function isNothing (value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}
