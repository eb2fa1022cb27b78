import { lastPart, withForwardSlashes } from '../a1111/names.ts'
import type { ModelFile, ModelType, ReportedModel } from './model.ts'
import { exactPlaceOf, placeOf } from './places.ts'

/** Files and reports that are one model. */
export interface JoinedModel {
  readonly type: ModelType
  sha256: string | null
  shortHash: string | null
  readonly files: ModelFile[]
  readonly reported: ReportedModel[]
}

/** One source of knowledge about a model, whichever kind it is. */
interface Sighting {
  readonly type: ModelType
  readonly sha256: string | null
  readonly shortHash: string | null
  /** Where it is, within the folder of its type. */
  readonly place: string
  readonly absolutePath: string
  /** The server that reports it; null for a file of this machine. */
  readonly serverId: string | null
  /** The place in its own case. */
  readonly exactPlace: string
  readonly add: (model: JoinedModel) => void
}

/**
 * Joins what is known by hash, then by path. Equal paths with different hashes are different models, and something
 * without a hash joins others by path only where that leaves no choice.
 */
export function joinModels (files: readonly ModelFile[], reported: readonly ReportedModel[]): JoinedModel[] {
  const sightings = [...files.map(sightingOfFile), ...reported.map(sightingOfReport)]
  const models: JoinedModel[] = []
  const byHash = new Map<string, JoinedModel>()
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
    remember(byPlace, `${sighting.type}:${sighting.place}`, model)
    remember(byName, `${sighting.type}:${lastPart(sighting.place)}`, model)
  }

  function begin (sighting: Sighting): JoinedModel {
    const model: JoinedModel = { type: sighting.type, sha256: null, shortHash: null, files: [], reported: [] }
    models.push(model)
    return model
  }

  /** The one model at this path; of several, or by a bare name alone, only what cannot be mistaken. */
  function atPlace (sighting: Sighting): JoinedModel | undefined {
    const isFree = (model: JoinedModel) => mayJoin(sighting, model)
    const same = byPlace.get(`${sighting.type}:${sighting.place}`)
    if (same !== undefined) {
      const free = [...same].filter(isFree)
      return onlyOne(free.filter(model => exactPlacesOf(model).includes(sighting.exactPlace))) ?? onlyOne(free)
    }
    const alike = [...byName.get(`${sighting.type}:${lastPart(sighting.place)}`) ?? []]
    return onlyOne(alike.filter(isFree).filter(model => isSamePath(sighting, model)))
  }

  const hashed = sightings.filter(({ shortHash }) => shortHash !== null)
  // whole hashes first, so that a short one finds the whole one that it is the beginning of
  const shortOnly = ({ sha256 }: Sighting) => Number(sha256 === null)
  for (const sighting of hashed.sort((one, other) => shortOnly(one) - shortOnly(other))) {
    const key = `${sighting.type}:${sighting.shortHash}`
    const model = byHash.get(key) ?? begin(sighting)
    byHash.set(key, model)
    enter(sighting, model)
  }
  // the longest paths say most about where something is
  const unhashed = sightings.filter(({ shortHash }) => shortHash === null)
  for (const sighting of unhashed.sort((one, other) => depth(other.place) - depth(one.place))) {
    enter(sighting, atPlace(sighting) ?? begin(sighting))
  }
  return models
}

function sightingOfFile (file: ModelFile): Sighting {
  return {
    type: file.type,
    sha256: file.sha256,
    shortHash: file.sha256?.slice(0, 10) ?? null,
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
    place: placeOf(report.path),
    absolutePath: withForwardSlashes(report.absolutePath),
    serverId: report.serverId,
    exactPlace: exactPlaceOf(report.path),
    add: model => { model.reported.push(report) }
  }
}

/**
 * Two files are one model only by their hash: what is written of one would else be written beside another. And a
 * server that has names which differ in case has two models.
 */
function mayJoin ({ serverId, exactPlace }: Sighting, { files, reported }: JoinedModel): boolean {
  if (serverId === null) return files.length === 0
  return reported.every(report => report.serverId !== serverId || exactPlaceOf(report.path) === exactPlace)
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
