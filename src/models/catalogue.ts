import { type LoraFacts, loraFileOf } from '../a1111/inventory.ts'
import { bareName, lastPart, nearest, splitHash, withForwardSlashes } from '../a1111/names.ts'
import type { Checkpoint, Inventory } from '../a1111/types.ts'
import { createBreaks, inPieces } from '../lib/breaks.ts'
import { ServiceError } from '../lib/errors.ts'
import { foldedText } from '../lib/text.ts'
import { isSameBase } from '../model-facts/base-models.ts'
import {
  type FactsBySource, mergeFacts, type Model, type ModelFacts, type ModelType, type ReportedModel, sourcesOf
} from '../model-facts/facts.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { ModelFileStore } from './file-store.ts'
import { exactPlaceOf, isLycorisPath, pathWithinType, placeOf } from './folders.ts'
import { type Identities, type JoinedModel, joinModels } from './join.ts'
import { createModelSearch, type ModelSearch } from './search.ts'
import { inventoriesOf } from './servers.ts'
import { combinedPerson } from './sidecars.ts'

/** Every model in a server's inventory, LoRAs with the server's facts about them. */
export function modelsReported (
  serverId: string, inventory: Inventory, loraFacts: LoraFacts = new Map()
): ReportedModel[] {
  const named = (type: ModelType, names: readonly string[]): ReportedModel[] => names
    .filter(name => name !== 'None' && name !== 'Automatic')
    .map(name => ({
      serverId,
      type,
      title: name,
      alias: null,
      lycoris: false,
      absolutePath: '',
      path: withForwardSlashes(splitHash(name).name),
      sha256: null,
      shortHash: null,
      serverFacts: null
    }))
  return [
    ...inventory.checkpoints.map(checkpoint => reportedCheckpoint(serverId, checkpoint)),
    ...inventory.loras.map(({ name, alias, path }): ReportedModel => ({
      serverId,
      type: 'lora',
      title: name,
      alias,
      lycoris: isLycorisPath(path),
      absolutePath: path,
      path: pathWithinType(path, 'lora') ?? (path === '' ? name : lastPart(path)),
      sha256: null,
      shortHash: null,
      serverFacts: loraFacts.get(loraFileOf({ name, path })) ?? null
    })),
    ...named('vae', inventory.vaes),
    ...named('embedding', inventory.embeddings),
    ...named('upscaler', inventory.upscalers),
    ...named('controlnet', inventory.controlNetModels)
  ]
}

/** A short hash counts only with ten digits; older ones of eight are of another kind and prove nothing. */
function reportedCheckpoint (serverId: string, { title, hash, sha256, filename }: Checkpoint): ReportedModel {
  const full = sha256 === null || !/^[0-9a-f]{64}$/i.test(sha256) ? null : sha256.toLowerCase()
  const short = [hash, splitHash(title).hash].find(text => text && /^[0-9a-f]{10}$/i.test(text))
  return {
    serverId,
    type: 'checkpoint',
    title,
    alias: null,
    lycoris: false,
    absolutePath: filename,
    path: withForwardSlashes(splitHash(title).name),
    sha256: full,
    shortHash: full?.slice(0, 10) ?? short?.toLowerCase() ?? null,
    serverFacts: null
  }
}

/** All knowledge about models at one time. */
export interface CatalogueState {
  /** Sorted by name. */
  readonly models: readonly Model[]
  readonly search: ModelSearch
  /** Milliseconds since the epoch. */
  readonly builtAt: number
  readonly version: string
}

export interface Catalogue {
  /** The present state, built again only after a change. */
  state (): Promise<CatalogueState>
  /**
   * The model for an id, a file name, a title of a server, a hash or a path.
   * @param type if two models of different types have one name
   * @throws ServiceError `model_not_known` with the nearest names, also if several have that name
   */
  require (reference: string, type?: ModelType): Promise<Model>
}

export interface CatalogueDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly files: ModelFileStore
  readonly identities: Identities
}

/** A collator compares thousands of names many times faster than `localeCompare`, in the same order. */
const byName = new Intl.Collator()

/** One list of the models of all servers and folders. */
export function createCatalogue ({ registry, states, files, identities }: CatalogueDependencies): Catalogue {
  let current: CatalogueState | null = null
  let building: Promise<CatalogueState> | null = null

  async function build (): Promise<CatalogueState> {
    const inventories = await inventoriesOf(registry, states)
    const seen = await Promise.all(inventories.map(async ({ server, inventory }) =>
      `${server.id}@${inventory?.readAt ?? 0}/${await states.loraFacts.version(server.id)}`))
    const version = [await files.version(), ...seen].join(' ')
    if (current?.version === version) return current
    const reported = (await Promise.all(inventories.map(async ({ server, inventory }) => inventory === null
      ? []
      : modelsReported(server.id, inventory, await states.loraFacts.read(server.id))))).flat()
    const joined = await inPieces(joinModels(await files.all(), reported))
    const ids = await identities.assign(joined)
    const fetched = await files.fetched()
    const otherWork = createBreaks()
    const named: Array<{ readonly name: string, readonly model: Model }> = []
    for (const [index, one] of joined.entries()) {
      const model = modelOf(one, ids[index] ?? 0, fetched)
      named.push({ name: nameOf(model), model })
      await otherWork()
    }
    const models = named.sort((one, other) => byName.compare(one.name, other.name) || one.model.id - other.model.id)
      .map(({ model }) => model)
    const search = createModelSearch(models)
    current = { models, search, builtAt: Date.now(), version }
    // Where this fails the first search does the same work, and says why.
    search.prepare().catch(() => undefined)
    return current
  }

  let following: Promise<CatalogueState> | null = null

  function begin (): Promise<CatalogueState> {
    building = build().finally(() => { building = null })
    return building
  }

  /** A write after a build began is possibly not in it: requests during a build get the next one. */
  function state (): Promise<CatalogueState> {
    if (building === null) return begin()
    following ??= building.catch(() => null).then(async () => {
      following = null
      return await begin()
    })
    return following
  }

  return {
    state,
    async require (reference, type) {
      const models = (await state()).models.filter(model => type === undefined || model.type === type)
      for (const way of ways(reference)) {
        const found = models.filter(way)
        if (found.length === 1 && found[0] !== undefined) return found[0]
        if (found.length > 1) throw ambiguous(reference, found)
      }
      throw unknown(reference, models)
    }
  }
}

/** Display name. */
export function nameOf (model: Model): string {
  return model.facts.name ?? bareName(model.filename)
}

/** Forms of a reference, from the surest to the least sure. */
function ways (reference: string): Array<(model: Model) => boolean> {
  const text = reference.trim()
  const place = placeOf(text)
  const exact = exactPlaceOf(text)
  const hash = /^[0-9a-f]{10,64}$/i.test(text) ? text.toLowerCase() : null
  return [
    model => String(model.id) === text,
    model => model.path === text || model.reported.some(({ title }) => title === text),
    model => exactPlacesOf(model).includes(exact),
    model => placesOf(model).includes(place),
    model => hash !== null && (model.shortHash === hash || model.sha256 === hash || model.autoV3 === hash),
    model => exactPlacesOf(model).some(known => lastPart(known) === exact),
    model => placesOf(model).some(known => lastPart(known) === place),
    model => model.reported.some(({ alias }) => alias === text),
    model => model.reported.some(({ alias }) => alias?.toLowerCase() === text.toLowerCase()),
    model => placesOf(model).some(known => [known, lastPart(known)].some(one => foldedText(one) === foldedText(place)))
  ]
}

function placesOf ({ files, reported }: Model): string[] {
  return [...files, ...reported].map(({ path }) => placeOf(path))
}

function exactPlacesOf ({ files, reported }: Model): string[] {
  return [...files, ...reported].map(({ path }) => exactPlaceOf(path))
}

function modelOf (joined: JoinedModel, id: number, fetched: ReadonlyMap<string, ModelFacts>): Model {
  const files = joined.files.toSorted((one, other) => one.path.localeCompare(other.path))
  const reported = joined.reported
  const path = files[0]?.path ?? reported[0]?.path ?? ''
  const absolute = reported.find(({ absolutePath }) => absolutePath !== '')?.absolutePath
  const { serverFacts, autoV3 } = serverFactsOf(joined)
  const asked = [joined.sha256, joined.shortHash, autoV3].map(hash => fetched.get(hash ?? '')).find(facts => facts !== undefined)
  const written = files.flatMap(file => file.facts.person ?? [])
  const beside: FactsBySource = {
    ...serverFacts === null ? {} : { embedded: serverFacts },
    ...Object.assign({}, ...files.toReversed().map(file => file.facts)) as FactsBySource,
    ...(written.length === 0 ? {} : { person: combinedPerson(written) })
  }
  const facts: FactsBySource = asked === undefined ? beside : { ...beside, civitai: asked }
  return {
    id,
    type: joined.type,
    lycoris: [...files, ...reported].some(({ lycoris }) => lycoris),
    filename: lastPart(files[0]?.path ?? absolute ?? path),
    path,
    sha256: joined.sha256,
    shortHash: joined.shortHash,
    autoV3,
    files,
    reported,
    facts: mergeFacts(facts),
    sources: sourcesOf(facts)
  }
}

/**
 * The servers' facts about a LoRA, from the report with the most, and its hash: that of a file here, or the one its
 * trainer wrote. A server with other tensors has another model.
 */
function serverFactsOf ({ files, reported }: JoinedModel): { serverFacts: ModelFacts | null, autoV3: string | null } {
  const given = reported.flatMap(({ serverFacts }) => serverFacts ?? [])
  const serverFacts = given.find(({ training }) => training?.modelHash != null) ?? given[0] ?? null
  const computed = files.find(({ autoV3 }) => autoV3 !== null)?.autoV3
  const written = [...files.map(({ facts }) => facts.embedded), serverFacts]
    .find(facts => facts?.training?.modelHash != null)
  return { serverFacts, autoV3: computed ?? written?.training?.modelHash?.slice(0, 12) ?? null }
}

function ambiguous (reference: string, models: readonly Model[]): ServiceError {
  const shown = models.map(({ id, type, path }) => `${id} (${type} ${path})`)
  return new ServiceError('model_ambiguous', `Several models are called "${reference}": ${shown.join(', ')}. ` +
    'Name one by its id.', { field: 'id', nearest: models.map(({ id }) => String(id)) })
}

function unknown (reference: string, models: readonly Model[]): ServiceError {
  const names = nearest(bareName(reference), models.map(({ filename }) => filename))
  const hint = names.length === 0 ? '' : ` Nearest: ${names.join(', ')}.`
  return new ServiceError('model_not_known', `No server and no folder has a model "${reference}".${hint}`,
    { field: 'id', nearest: names })
}

export interface ModelFilters {
  readonly types?: readonly ModelType[]
  /** Any name of it, such as `SDXL 1.0` or `sdxl_base_v1-0`. */
  readonly baseModel?: string
  readonly serverId?: string
  readonly search?: string
}

/** The models that match every filter: by name, or best first in a search. */
export function selectModels ({ search }: CatalogueState, filters: ModelFilters): Model[] {
  const { types, serverId, baseModel } = filters
  return search.find(filters.search ?? '').filter(model =>
    (types === undefined || types.includes(model.type)) &&
    (baseModel === undefined || isSameBase(baseModel, model.facts.baseModel ?? '')) &&
    (serverId === undefined || model.reported.some(report => report.serverId === serverId)))
}

export const choiceKinds = ['samplers', 'schedulers', 'upscalers'] as const
export type ChoiceKind = (typeof choiceKinds)[number]

/** Something that a job can name and that is no file of ours, and the servers that offer it. */
export interface Choice {
  readonly name: string
  readonly label: string
  readonly aliases: readonly string[]
  /** Aliases of servers. */
  readonly servers: readonly string[]
}

type Offer = Omit<Choice, 'servers'>

const offersOf: Readonly<Record<ChoiceKind, (inventory: Inventory) => readonly Offer[]>> = {
  samplers: ({ samplers }) => samplers.map(({ name, aliases }) => ({ name, label: name, aliases })),
  schedulers: ({ schedulers }) => schedulers,
  upscalers: ({ upscalers, latentUpscaleModes }) =>
    [...latentUpscaleModes, ...upscalers].map(name => ({ name, label: name, aliases: [] }))
}

/** All offers of one kind, in the order in which the first server lists them. */
export async function listChoices (
  kind: ChoiceKind, { registry, states }: { registry: ServerRegistry, states: ServerStateStore }
): Promise<Choice[]> {
  const choices = new Map<string, Offer & { servers: string[] }>()
  for (const { server, inventory } of await inventoriesOf(registry, states)) {
    for (const offer of inventory === null ? [] : offersOf[kind](inventory)) {
      const found = choices.get(offer.name)
      if (found === undefined) choices.set(offer.name, { ...offer, servers: [server.alias] })
      else found.servers.push(server.alias)
    }
  }
  return [...choices.values()]
}
