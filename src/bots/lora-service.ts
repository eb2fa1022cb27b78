import type { LoraEdit, LoraQuery, LoraScan } from '../../schemas/bots-settings.ts'
import type { A1111Client } from '../a1111/client.ts'
import { readLoras } from '../a1111/inventory.ts'
import { bareName } from '../a1111/names.ts'
import { createBreaks } from '../lib/breaks.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { foldedText, withoutTags } from '../lib/text.ts'
import { isSameBase } from '../model-facts/base-models.ts'
import type { Model } from '../model-facts/facts.ts'
import type { Catalogue } from '../models/catalogue.ts'
import type { Freshness } from '../models/civitai-client.ts'
import type { ModelService } from '../models/model-service.ts'
import { type CivitaiImages, imageNotFound, type ImageContent } from '../models/images.ts'
import type { ModelRefresher } from '../models/refresh.ts'
import { containedScore } from '../models/search.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { type LoraEdits, loraKey, type LoraMetadataStore, type LoraPreviews, placesOf } from './lora-metadata.ts'

/** Words in file names that describe a LoRA. */
const describingWords = new Set([
  'realistic', 'anime', 'manga', 'cartoon', '3d', '2d', 'portrait', 'landscape', 'concept', 'style', 'art', 'character',
  'outfit', 'pose', 'background'
])

function wordsOfFilename (filename: string): string[] {
  return bareName(filename).split(/[\s_-]+/).filter(word => word !== '')
}

/** A file name as people would write it: words, without versions and hashes. */
function displayName (filename: string): string {
  const words = wordsOfFilename(filename).filter(word => !/^v\d[\d.]*$/i.test(word) && !/^[0-9a-f]{8,}$/i.test(word))
  return words.length === 0 ? bareName(filename) : words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join(' ')
}

/** Tags for a LoRA without any other facts. */
function tagsOfName (filename: string): string[] {
  const words = wordsOfFilename(filename).map(word => word.toLowerCase())
  return [...new Set(words.filter(word => describingWords.has(word)))]
}

/** Text without the HTML that Civitai's descriptions have. */
function plainText (html: string): string {
  return withoutTags(html.replace(/<br\s*\/?>|<\/(?:p|li|h\d)>/gi, '\n'), '')
    .replace(/&(amp|lt|gt|quot|#39);/g, (_whole, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? "'")
    .replace(/\n{3,}/g, '\n\n').trim()
}

/** A LoRA with all known facts: a person's edits before the catalogue. */
export interface Lora {
  readonly model: Model
  readonly name: string
  readonly tags: readonly string[]
  readonly triggerWords: readonly string[]
  readonly strengthRange: readonly number[]
  readonly description: string | null
  /** Set by a person; null leaves it to the model's own images. */
  readonly thumbnail: string | null
  /** At Civitai, for a model without a preview in the catalogue. */
  readonly civitaiImage: string | null
  /** Whether a server can have one: only asking shows it. */
  readonly mayHavePreview: boolean
  readonly civitaiId: number | null
  readonly baseModel: string | null
  readonly preferredWeight: number | null
  readonly servers: readonly string[]
  readonly edited: readonly string[]
  /** How well it matches a search. */
  readonly score?: number
}

export interface LoraService {
  find (query: LoraQuery): Promise<{ readonly loras: readonly Lora[], readonly total: number }>
  /** @throws ServiceError `model_not_known` with the nearest names */
  require (filename: string): Promise<Lora>
  edit (filename: string, edit: LoraEdit): Promise<Lora>
  /** Its preview. @throws ServiceError `image_not_found`, `civitai_unreachable` */
  image (lora: Lora): Promise<ImageContent>
  /** Asks Civitai. @throws ServiceError `civitai_unreachable`, `civitai_not_found` */
  enrich (filename: string, freshness: Freshness): Promise<Lora>
  /** Has each server reload its folder, and reads the result. Model folders follow in the background. */
  scan (): Promise<LoraScan['details']>
}

export interface LoraServiceDependencies {
  readonly catalogue: Catalogue
  readonly images: CivitaiImages
  readonly refresher: ModelRefresher
  /** Scans the folders of this machine. */
  readonly maintenance: { requestScan (): Promise<unknown> }
  readonly service: Pick<ModelService, 'folders'>
  readonly notes: LoraMetadataStore
  readonly previews: LoraPreviews
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly connect: (server: Server) => A1111Client
}

const defaultStrengths = [0.6, 1] as const
/** Best score of a similar text; a text that contains the query has at least 2. */
const bestSimilar = 1.9
/** A server then reads the metadata of thousands of files. */
const refreshCall = { timeoutMs: 60_000 }

export function createLoraService (dependencies: LoraServiceDependencies): LoraService {
  const { catalogue, refresher, notes, previews, registry, states, connect } = dependencies

  async function all (): Promise<{ loras: Lora[], similar: (text: string) => readonly Model[] }> {
    const { models: known, search } = await catalogue.state()
    const [edits, plain] = await Promise.all([notes.edits(), previews.without()])
    const aliasOf = (serverId: string) => registry.byId(serverId)?.alias ?? []
    const otherWork = createBreaks()
    const loras: Lora[] = []
    for (const model of known.filter(({ type }) => type === 'lora')) {
      const key = loraKey(model.filename)
      const servers = model.reported.flatMap(({ serverId }) => aliasOf(serverId))
      const mayHavePreview = placesOf(model).length > 0 && !plain.has(String(model.id))
      loras.push({ ...loraOf(model, edits.get(key) ?? {}, servers), mayHavePreview })
      await otherWork()
    }
    return { loras, similar: text => search.find(text) }
  }

  async function require (filename: string): Promise<Lora> {
    const model = await catalogue.require(filename, 'lora')
    const { loras } = await all()
    const found = loras.find(lora => lora.model.id === model.id)
    if (found === undefined) throw new ServiceError('model_not_known', `No server and no folder has a LoRA "${filename}".`)
    return found
  }

  async function readServer (server: Server): Promise<{ listed: number, error: string | null }> {
    const client = connect(server)
    try {
      await client.postJson('/sdapi/v1/refresh-loras', {}, refreshCall)
      const { loras, loraFacts } = await states.loraFacts.exclusively(server.id, async () => await readLoras(client))
      const inventory = await states.freshInventory(server.id)
      if (inventory !== null) {
        await states.writeInventory(server.id, { ...inventory, loras, readAt: Date.now() }, loraFacts)
      }
      return { listed: loras.length, error: null }
    } catch (error) {
      return { listed: 0, error: messageOf(error) }
    } finally {
      await client.close()
    }
  }

  return {
    require,
    async find ({ search = '', limit = 50, offset = 0, ...filters }) {
      const { loras, similar } = await all()
      const fitting = loras.filter(lora => passes(lora, filters))
      const found = search.trim() === '' ? fitting : searched(fitting, search, similar)
      return { loras: found.slice(offset, offset + limit), total: found.length }
    },
    async edit (filename, edit) {
      const { model } = await require(filename)
      await notes.edit(model.filename, edit)
      return await require(String(model.id))
    },
    async enrich (filename, freshness) {
      const { model } = await require(filename)
      await refresher.refresh(model, { freshness })
      return await require(String(model.id))
    },
    async image ({ model, civitaiImage }) {
      const preview = await previews.read(model)
      if (preview !== null) return preview
      if (civitaiImage === null) throw imageNotFound()
      return await dependencies.images.read(civitaiImage)
    },
    async scan () {
      await previews.forget()
      const before = new Map((await all()).loras.map(({ model }) => [model.id, JSON.stringify(model.facts)]))
      const servers = registry.list().filter(({ enabled }) => enabled)
      const read = await Promise.all(servers.map(async server => ({ server, ...await readServer(server) })))
      const folders = dependencies.service.folders.length > 0
      if (folders) await dependencies.maintenance.requestScan()
      const { loras } = await all()
      return {
        count: loras.length,
        new: loras.filter(({ model }) => !before.has(model.id)).length,
        updated: loras.filter(({ model: { id, facts } }) =>
          before.has(id) && before.get(id) !== JSON.stringify(facts)).length,
        total_scanned: read.reduce((sum, { listed }) => sum + listed, 0),
        servers: read.map(({ server, listed, error }) => ({ alias: server.alias, loras: listed, error })),
        folders
      }
    }
  }
}

function loraOf (model: Model, edits: LoraEdits, servers: readonly string[]): Omit<Lora, 'mayHavePreview'> {
  const { facts } = model
  const trainedOn = facts.training?.checkpoint ?? null
  const tags = facts.tags.length > 0 ? facts.tags : tagsOfName(model.filename)
  return {
    model,
    name: edits.name ?? facts.name ?? displayName(model.filename),
    tags: edits.tags ?? tags,
    triggerWords: edits.trigger_words ?? facts.triggerWords,
    strengthRange: edits.strength_range ?? defaultStrengths,
    description: edits.description ?? (facts.description === null ? trainedOn && `Trained on ${trainedOn}` : plainText(facts.description)),
    thumbnail: edits.thumbnail ?? null,
    civitaiImage: facts.civitai?.images[0]?.url ?? null,
    civitaiId: edits.civitai_id ?? facts.civitai?.modelId ?? null,
    baseModel: facts.baseModel,
    preferredWeight: facts.weight,
    servers: [...new Set(servers)],
    edited: Object.keys(edits)
  }
}

function passes (lora: Lora, { tag, base_model: base, server }: Pick<LoraQuery, 'tag' | 'base_model' | 'server'>): boolean {
  const same = (one: string, other: string) => foldedText(one) === foldedText(other)
  const hasBase = (wanted: string, known: string) =>
    isSameBase(wanted, known) || known.toLowerCase().includes(wanted.toLowerCase())
  return (tag === undefined || lora.tags.some(one => same(one, tag))) &&
    (base === undefined || hasBase(base, lora.baseModel ?? '')) &&
    (server === undefined || lora.servers.some(one => same(one, server)))
}

/** LoRAs that contain the text, by the scores of this interface; if there is none, similar ones. */
function searched (loras: readonly Lora[], search: string, similar: (text: string) => readonly Model[]): Lora[] {
  const wanted = foldedText(search.trim())
  const whole = loras.map(lora => ({ ...lora, score: containedScore(wordsOf(lora), wanted) }))
    .filter(({ score }) => score > 0)
    .sort((one, other) => other.score - one.score)
  if (whole.length > 0) return whole
  const byId = new Map(loras.map(lora => [lora.model.id, lora]))
  return similar(search).flatMap(({ id }) => byId.get(id) ?? [])
    .map((lora, index) => ({ ...lora, score: Math.max(0.1, bestSimilar - index / 100) }))
}

function wordsOf ({ model, name, tags, triggerWords, description }: Lora) {
  const lower = foldedText
  return {
    name: lower(name),
    filename: lower(model.path),
    alias: lower(model.reported.map(({ alias }) => alias ?? '').join(' ')),
    tags: tags.map(lower),
    triggers: triggerWords.map(lower),
    description: lower(description ?? '')
  }
}
