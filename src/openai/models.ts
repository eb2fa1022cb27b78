import { bareName } from '../a1111/names.ts'
import { ServiceError } from '../lib/errors.ts'
import { baseModelOf } from '../model-facts/base-models.ts'
import type { Model } from '../model-facts/facts.ts'
import type { Catalogue } from '../models/catalogue.ts'
import { familyOf, readCandidates } from '../servers/choose.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { Size } from './request.ts'

/** A checkpoint as OpenAI shows a model. */
export interface ModelEntry {
  readonly id: string
  readonly object: 'model'
  readonly created: number
  readonly owned_by: string
}

/** The checkpoints that servers have: what requests can name. */
export async function listCheckpoints (catalogue: Catalogue): Promise<ModelEntry[]> {
  const checkpoints = (await catalogue.state()).models.filter(isOfServer)
  const counts = new Map<string, number>()
  for (const { filename } of checkpoints) counts.set(bareName(filename), (counts.get(bareName(filename)) ?? 0) + 1)
  return checkpoints.map(model => entryOf(model, counts.get(bareName(model.filename)) === 1))
}

/**
 * The checkpoint of any of its names.
 * @throws ServiceError `model_not_known`
 */
export async function findCheckpoint (catalogue: Catalogue, name: string): Promise<ModelEntry> {
  const model = await catalogue.require(name, 'checkpoint')
  const own = entryOf(model, true)
  const isAlone = (await listCheckpoints(catalogue)).some(({ id }) => id === own.id)
  if (isOfServer(model)) return entryOf(model, isAlone)
  throw new ServiceError('model_not_known', `No server has the checkpoint "${name}".`, { field: 'model' })
}

function isOfServer ({ type, reported }: Model): boolean {
  return type === 'checkpoint' && reported.length > 0
}

/** @param isAlone whether no other checkpoint has its file name */
function entryOf ({ filename, path, files, facts }: Model, isAlone: boolean): ModelEntry {
  return {
    id: isAlone ? bareName(filename) : path,
    object: 'model',
    created: Math.floor((files[0]?.createdAt ?? 0) / 1000),
    owned_by: facts.baseModel ?? 'stablequeue'
  }
}

/** Sides of the images on which families of models were trained, where these are not 1024. */
const trainedSides: Readonly<Record<string, number>> = { 'SD 1': 512, 'SD 2': 768 }

/** The checkpoint that people selected at the best server, for requests that name none; null if that is not known. */
export async function selectedCheckpoint (
  registry: Pick<ServerRegistry, 'list'>, states: Pick<ServerStateStore, 'readMany' | 'options'>
): Promise<string | null> {
  const [best] = await readCandidates(registry.list(), states, async () => 0)
  return best === undefined ? null : (await states.options.read(best.server.id))?.selection ?? null
}

/** The size for which a checkpoint was trained; OpenAI's usual one if that is not known. */
export async function usualSize (catalogue: Pick<Catalogue, 'require'>, checkpoint: string | null): Promise<Size> {
  const family = familyOf(checkpoint) ?? (checkpoint === null ? null : await familyByFacts(catalogue, checkpoint))
  const side = trainedSides[family ?? ''] ?? 1024
  return { width: side, height: side }
}

async function familyByFacts (catalogue: Pick<Catalogue, 'require'>, checkpoint: string): Promise<string | null> {
  // The submission says what is wrong with a name.
  const model = await catalogue.require(checkpoint, 'checkpoint').catch(() => null)
  const { baseModel = null } = model?.facts ?? {}
  return baseModel === null ? null : baseModelOf(baseModel)?.family ?? null
}
