import type { Redis } from 'ioredis'
import { lastPart, withForwardSlashes } from '../a1111/names.ts'
import type { Pieces } from '../lib/breaks.ts'
import type { Keys } from '../lib/keys.ts'
import type { ModelFacts, ModelFile, ModelType, ReportedModel } from '../model-facts/facts.ts'
import { loadScript } from '../redis/scripts.ts'
import { exactPlaceOf, placeOf } from './folders.ts'

/** Files and reports that are one model. */
export interface JoinedModel {
  readonly type: ModelType
  sha256: string | null
  shortHash: string | null
  /** First twelve digits of the hash of its tensors: computed from a file, and written into one by its trainer. */
  readonly tensorHashes: Set<string>
  /** The written ones of these. */
  readonly writtenHashes: Set<string>
  readonly files: ModelFile[]
  readonly reported: ReportedModel[]
}

/** Models that share a hash and are all compared with a further source. */
const maxAlike = 64

/** One source of facts about a model, of whichever kind. */
interface Sighting {
  readonly type: ModelType
  readonly sha256: string | null
  readonly shortHash: string | null
  readonly tensorHashes: readonly string[]
  readonly writtenHash: string | null
  /** Location within the folder of its type. */
  readonly place: string
  readonly absolutePath: string
  /** The server that reports it; null for a file of this machine. */
  readonly serverId: string | null
  /** The location in its own case. */
  readonly exactPlace: string
  readonly add: (model: JoinedModel) => void
}

/**
 * Joins sources by hash, then by path. Equal paths with different hashes are different models, and a source without a
 * hash joins others by path only if that leaves no choice.
 */
export function * joinModels (
  files: readonly ModelFile[], reported: readonly ReportedModel[]
): Pieces<JoinedModel[]> {
  const sightings = [...files.map(sightingOfFile), ...reported.map(sightingOfReport)]
  const models: JoinedModel[] = []
  const byHash = new Map<string, JoinedModel>()
  const byTensors = new Map<string, Set<JoinedModel>>()
  const byPlace = new Map<string, Set<JoinedModel>>()
  const byName = new Map<string, Set<JoinedModel>>()

  function remember (index: Map<string, Set<JoinedModel>>, key: string, model: JoinedModel): void {
    const known = index.get(key)
    if (known === undefined) index.set(key, new Set([model]))
    else known.add(model)
  }

  function enter (sighting: Sighting, model: JoinedModel): void {
    sighting.add(model)
    model.sha256 ??= sighting.sha256
    model.shortHash ??= sighting.shortHash
    if (sighting.writtenHash !== null) model.writtenHashes.add(sighting.writtenHash)
    for (const hash of sighting.tensorHashes) {
      model.tensorHashes.add(hash)
      remember(byTensors, `${sighting.type}:${hash}`, model)
    }
    remember(byPlace, keyOf(sighting), model)
    remember(byName, `${sighting.type}:${lastPart(sighting.place)}`, model)
  }

  function begin (sighting: Sighting): JoinedModel {
    const model: JoinedModel = {
      type: sighting.type,
      sha256: null,
      shortHash: null,
      tensorHashes: new Set(),
      writtenHashes: new Set(),
      files: [],
      reported: []
    }
    models.push(model)
    return model
  }

  /** The one model with these tensors, preferably the one at this path too. */
  function withTensors (sighting: Sighting): JoinedModel | undefined {
    const sharing = sighting.tensorHashes.map(hash => byTensors.get(`${sighting.type}:${hash}`) ?? new Set<JoinedModel>())
    const here = byPlace.get(keyOf(sighting))
    // Of many that share a hash only the one at this path can be meant.
    const alike = sharing.flatMap(all => all.size > maxAlike ? [...here ?? []].filter(one => all.has(one)) : [...all])
    const free = [...new Set(alike)].filter(model => isFree(sighting, model))
    return free.find(model => exactPlacesOf(model).includes(sighting.exactPlace)) ?? onlyOne(free)
  }

  /** If servers have different LoRAs at one path, a file there is not known to be any of them. */
  const contested = contestedPlaces(sightings)
  const mayJoinByPath = (sighting: Sighting, model: JoinedModel) => isFree(sighting, model) &&
    (sighting.tensorHashes.length === 0 || !contested.has(keyOf(sighting)) ||
      sighting.tensorHashes.some(hash => model.tensorHashes.has(hash)))

  /** The one model at this path; of several, or by a bare name alone, only an unmistakable one. */
  function atPlace (sighting: Sighting): JoinedModel | undefined {
    const mayJoin = (model: JoinedModel) => mayJoinByPath(sighting, model)
    const same = byPlace.get(keyOf(sighting))
    if (same !== undefined) {
      const free = [...same].filter(mayJoin)
      return onlyOne(free.filter(model => exactPlacesOf(model).includes(sighting.exactPlace))) ?? onlyOne(free)
    }
    const alike = [...byName.get(`${sighting.type}:${lastPart(sighting.place)}`) ?? []]
    return onlyOne(alike.filter(mayJoin).filter(model => isSamePath(sighting, model)))
  }

  const hashed = sightings.filter(({ shortHash }) => shortHash !== null)
  // whole hashes first, so that a short one finds the whole one that it begins
  const shortOnly = ({ sha256 }: Sighting) => Number(sha256 === null)
  for (const sighting of hashed.sort((one, other) => shortOnly(one) - shortOnly(other))) {
    const key = `${sighting.type}:${sighting.shortHash}`
    const model = byHash.get(key) ?? begin(sighting)
    byHash.set(key, model)
    enter(sighting, model)
    yield
  }
  // sources with a hash first, then the longest paths, which are the most precise
  const unhashed = sightings.filter(({ shortHash }) => shortHash === null)
  const withoutAny = ({ tensorHashes }: Sighting) => Number(tensorHashes.length === 0)
  const order = (one: Sighting, other: Sighting) =>
    withoutAny(one) - withoutAny(other) || depth(other.place) - depth(one.place)
  const others: Sighting[] = []
  for (const sighting of unhashed.sort(order)) {
    const model = withTensors(sighting)
    if (model === undefined) others.push(sighting)
    else enter(sighting, model)
    yield
  }
  for (const sighting of others) {
    enter(sighting, withTensors(sighting) ?? atPlace(sighting) ?? begin(sighting))
    yield
  }
  return models
}

function sightingOfFile (file: ModelFile): Sighting {
  return {
    type: file.type,
    sha256: file.sha256,
    shortHash: file.sha256?.slice(0, 10) ?? null,
    ...tensorHashesOf(file.autoV3, file.facts.embedded),
    place: placeOf(file.path),
    absolutePath: '',
    serverId: null,
    exactPlace: exactPlaceOf(file.path),
    add: model => { model.files.push(file) }
  }
}

function sightingOfReport (report: ReportedModel): Sighting {
  return {
    type: report.type,
    sha256: report.sha256,
    shortHash: report.shortHash,
    ...tensorHashesOf(null, report.serverFacts),
    place: placeOf(report.path),
    absolutePath: withForwardSlashes(report.absolutePath),
    serverId: report.serverId,
    exactPlace: exactPlaceOf(report.path),
    add: model => { model.reported.push(report) }
  }
}

/**
 * Two files are one model only by their hash: else words about one would be written beside another. A server that has
 * names which differ in case has two models. LoRAs in which different hashes are written are never one; a computed hash
 * is no such proof, since tools that change a file leave the written one.
 */
function isFree (
  { serverId, exactPlace, writtenHash }: Sighting, { files, reported, writtenHashes }: JoinedModel
): boolean {
  if (writtenHash !== null && writtenHashes.size > 0 && !writtenHashes.has(writtenHash)) return false
  if (serverId === null) return files.length === 0
  return reported.every(report => report.serverId !== serverId || exactPlaceOf(report.path) === exactPlace)
}

/** Of a LoRA, for which servers report no other hash. */
function tensorHashesOf (
  autoV3: string | null, facts: ModelFacts | null | undefined
): Pick<Sighting, 'tensorHashes' | 'writtenHash'> {
  const writtenHash = facts?.training?.modelHash?.slice(0, 12) ?? null
  return { tensorHashes: [...new Set([autoV3, writtenHash].filter(hash => hash !== null))], writtenHash }
}

function keyOf ({ type, place }: Sighting): string {
  return `${type}:${place}`
}

/** Keys of locations at which LoRAs have different hashes written in them. */
function contestedPlaces (sightings: readonly Sighting[]): Set<string> {
  const first = new Map<string, string>()
  const contested = new Set<string>()
  for (const sighting of sightings) {
    if (sighting.writtenHash === null) continue
    const key = keyOf(sighting)
    const known = first.get(key)
    if (known === undefined) first.set(key, sighting.writtenHash)
    else if (known !== sighting.writtenHash) contested.add(key)
  }
  return contested
}

function exactPlacesOf ({ files, reported }: JoinedModel): string[] {
  return [...files, ...reported].map(({ path }) => exactPlaceOf(path))
}

/** Types that servers name without a folder. */
const namedBare: readonly ModelType[] = ['vae', 'embedding', 'upscaler', 'controlnet']

/**
 * Whether an absolute path at a server ends in the model's path, or either is a bare name of a type that servers
 * never name with a folder.
 */
function isSamePath ({ type, place, absolutePath }: Sighting, model: JoinedModel): boolean {
  const places = [...model.files.map(({ path }) => placeOf(path)), ...model.reported.map(({ path }) => placeOf(path))]
  const endsIn = (path: string, tail: string) => tail.includes('/') && placeOf(path).endsWith(`/${tail}`)
  if (places.some(other => endsIn(absolutePath, other))) return true
  if (model.reported.some(report => endsIn(report.absolutePath, place))) return true
  return namedBare.includes(type) && (!place.includes('/') || places.some(other => !other.includes('/')))
}

function onlyOne (models: readonly JoinedModel[]): JoinedModel | undefined {
  return models.length === 1 ? models[0] : undefined
}

function depth (place: string): number {
  return place.split('/').length
}

/** Gives each model a number that it keeps while one of its hashes or paths stays the same. */
export interface Identities {
  /** One number for each model, in their order; no two get the same. */
  assign (models: readonly JoinedModel[]): Promise<number[]>
}

const nameModel = loadScript<[ids: string, counter: string], string[], number>(
  new URL('scripts/name-model.lua', import.meta.url))

export function createIdentities (redis: Redis, keys: Keys): Identities {
  const idsKey = keys.key('model-ids')
  const counterKey = keys.key('model-ids', 'last')

  async function name (marks: readonly string[]): Promise<number> {
    return await nameModel(redis, [idsKey, counterKey], marks)
  }

  return {
    async assign (models) {
      if (models.length === 0) return []
      const known = await redis.hgetall(idsKey)
      const taken = new Set<number>()
      const ids: number[] = []
      for (const model of models) {
        const marks = marksOf(model)
        const free = marks.map(mark => known[mark]).find(id => id !== undefined && !taken.has(Number(id)))
        const complete = marks.every(mark => known[mark] !== undefined)
        let id = free === undefined ? undefined : Number(free)
        if (id === undefined) {
          // two models at one path, distinguished by their hashes: the mark must be theirs alone
          const own = marks.filter(mark => known[mark] === undefined)
          id = await name(own.length > 0 ? own : [`again:${marks.join('|')}`])
          if (taken.has(id)) id = await name([`again:${marks.join('|')}`])
        } else if (!complete) {
          const news = marks.filter(mark => known[mark] === undefined)
          await redis.hset(idsKey, Object.fromEntries(news.map(mark => [mark, String(free)])))
        }
        for (const mark of marks) known[mark] ??= String(id)
        taken.add(id)
        ids.push(id)
      }
      return ids
    }
  }
}

/**
 * The marks of a model: its hash, then its paths, of which those with the hash of its tensors distinguish LoRAs at one
 * path, and last that hash alone.
 */
function marksOf ({ type, shortHash, tensorHashes, files, reported }: JoinedModel): string[] {
  const places = [...new Set([...files, ...reported].map(({ path }) => placeOf(path)))].sort()
  const tensors = [...tensorHashes].sort()
  return [
    ...shortHash === null ? [] : [`hash:${type}:${shortHash}`],
    ...tensors.flatMap(hash => places.map(place => `tensors:${type}:${hash}:${place}`)),
    ...places.map(place => `path:${type}:${place}`),
    ...tensors.map(hash => `tensors:${type}:${hash}`)
  ]
}
