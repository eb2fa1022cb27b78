import { createBreaks } from '../lib/breaks.ts'
import type { A1111Client } from './client.ts'
import { isMissing } from './failures.ts'
import { fieldsOf, numberOf, textOf, textsOf, type JsonObject } from '../lib/json-values.ts'
import { factsFromServer } from '../model-facts/embedded.ts'
import type { ModelFacts } from '../model-facts/facts.ts'
import { rulesOf } from './kinds/registry.ts'
import { readLoraList } from './lora-list.ts'
import type { SmallCallOptions } from './small-calls.ts'
import {
  GenerationFailure, type Checkpoint, type Inventory, type ListName, type Scheduler, type ServerTraits
} from './types.ts'

const lorasPath = '/sdapi/v1/loras'
/** Lists of LoRAs carry hundreds of kilobytes of metadata for each, and are slow to make. */
const loraCall: SmallCallOptions = { timeoutMs: 60_000, maxAnswerBytes: 8 * 1024 ** 3 }
/** Bytes of such a list whose metadata is read along with its names; more of it takes seconds. */
const smallList = 2 * 1000 ** 2
/** Milliseconds for all of the metadata, for which nobody needs to wait. */
const metadataTimeout = 600_000
const checkpointPath = '/sdapi/v1/sd-models'
/** A server with thousands of files on a network disk needs more time. */
const listCall: SmallCallOptions = { timeoutMs: 15_000 }

/**
 * Reads all lists at once. None of them waits for the generation lock, so it works beside a running generation; nothing
 * is refreshed. A list that the server does not have or fails to return is empty and named in `missing`.
 *
 * @throws GenerationFailure if the server cannot be reached, rejects our credentials, or fails to list its checkpoints
 */
export async function readInventory (client: A1111Client, traits: ServerTraits): Promise<Inventory> {
  return (await readLists(client, traits, null, new Set())).inventory
}

/**
 * The metadata of a server's LoRAs, by `loraFileOf`; null for a LoRA without metadata. Those of which it was not read
 * are missing.
 */
export type LoraFacts = ReadonlyMap<string, ModelFacts | null>

/**
 * The same with the metadata of LoRAs; reads only some lists and keeps the known others. The facts are separate, since
 * each job reads an inventory and needs only names; null if LoRAs were not read.
 * @param known null reads all of them
 */
export async function readLists (
  client: A1111Client, traits: ServerTraits, known: Inventory | null, wanted: ReadonlySet<ListName>
): Promise<{ inventory: Inventory, loraFacts: LoraFacts | null }> {
  const missing: ListName[] = []

  /** Null if the server does not return it. */
  async function tolerate<Value> (name: ListName, work: () => Promise<Value>): Promise<Value | null> {
    try {
      return await work()
    } catch (error) {
      if (!isTolerable(error, name)) throw error
      return null
    }
  }

  const isKnown = (name: ListName) => known !== null && !wanted.has(name)

  async function read<Value> (
    name: ListName, paths: readonly string[], parse: (answer: unknown) => Value
  ): Promise<Value> {
    if (known !== null && isKnown(name)) {
      if (known.missing.includes(name)) missing.push(name)
      return known[name] as Value
    }
    for (const path of paths) {
      const found = await tolerate(name, async () => ({ value: parse(await client.readJson(path, listCall)) }))
      if (found !== null) return found.value
    }
    missing.push(name)
    return parse(null)
  }

  async function readListOfLoras (): Promise<{ loras: Inventory['loras'], loraFacts: LoraFacts | null }> {
    if (known !== null && isKnown('loras')) {
      if (known.missing.includes('loras')) missing.push('loras')
      return { loras: known.loras, loraFacts: null }
    }
    const found = await tolerate('loras', async () => await readLoraListOf(client, smallList, loraCall))
    if (found === null) missing.push('loras')
    return found ?? { loras: [], loraFacts: null }
  }

  const [
    checkpoints, samplers, schedulers, upscalers, latentUpscaleModes, vaes, { loras, loraFacts }, embeddings, styles,
    scripts,
    controlNetModels, controlNetModules, controlNetAliases, controlNetUnits
  ] = await Promise.all([
    read('checkpoints', [checkpointPath], answer => itemsOf(answer).flatMap(checkpointOf)),
    read('samplers', ['/sdapi/v1/samplers'], answer => itemsOf(answer).flatMap(item =>
      named(item.name, name => ({ name, aliases: textsOf(item.aliases) })))),
    read('schedulers', ['/sdapi/v1/schedulers'], answer => itemsOf(answer).flatMap(schedulerOf)),
    read('upscalers', ['/sdapi/v1/upscalers'], namesOf),
    read('latentUpscaleModes', ['/sdapi/v1/latent-upscale-modes'], namesOf),
    read('vaes', rulesOf(traits).vaeRoutes, answer =>
      itemsOf(answer).flatMap(item => named(item.model_name, name => name))),
    readListOfLoras(),
    read('embeddings', ['/sdapi/v1/embeddings'], embeddingsOf),
    read('styles', ['/sdapi/v1/prompt-styles'], namesOf),
    read('scripts', ['/sdapi/v1/scripts'], answer => ({
      txt2img: textsOf(fieldsOf(answer).txt2img), img2img: textsOf(fieldsOf(answer).img2img)
    })),
    read('controlNetModels', ['/controlnet/model_list'], answer => textsOf(fieldsOf(answer).model_list)),
    read('controlNetModules', ['/controlnet/module_list'], answer => textsOf(fieldsOf(answer).module_list)),
    // units can name a module by its label as well
    read('controlNetModules', ['/controlnet/module_list?alias_names=true'], answer => textsOf(fieldsOf(answer).module_list)),
    known === null ? readControlNetUnits(client) : known.controlNetUnits ?? null
  ])
  const inventory = {
    checkpoints,
    samplers,
    schedulers,
    upscalers,
    latentUpscaleModes,
    vaes,
    loras,
    embeddings,
    styles,
    scripts,
    controlNetModels,
    controlNetModules: [...new Set([...controlNetModules, ...controlNetAliases])],
    controlNetUnits,
    missing: [...new Set(missing)],
    readAt: known?.readAt ?? Date.now()
  }
  return { inventory, loraFacts }
}

/**
 * The LoRAs with their metadata, whatever the length of the answer.
 * @throws GenerationFailure as any call
 */
export async function readLoras (client: A1111Client, signal?: AbortSignal): Promise<ReadLoras> {
  return await readLoraListOf(client, Infinity,
    { ...loraCall, timeoutMs: metadataTimeout, ...signal === undefined ? {} : { signal } })
}

interface ReadLoras { readonly loras: Inventory['loras'], readonly loraFacts: LoraFacts }

async function readLoraListOf (
  client: A1111Client, metadataBytes: number, call: SmallCallOptions
): Promise<ReadLoras> {
  const loras: Array<Inventory['loras'][number]> = []
  const loraFacts = new Map<string, ModelFacts | null>()
  const answer = await client.readJson(lorasPath, {
    ...call, read: async (chunks, maxAnswerBytes) => await readLoraList(chunks, maxAnswerBytes, metadataBytes)
  })
  const otherWork = createBreaks()
  for (const item of itemsOf(answer)) {
    const [lora] = named(item.name, name => ({ name, alias: textOf(item.alias) ?? name, path: textOf(item.path) ?? '' }))
    if (lora === undefined) continue
    loras.push(lora)
    if (item.metadata !== null) loraFacts.set(loraFileOf(lora), factsFromServer(fieldsOf(item.metadata)))
    await otherWork()
  }
  return { loras, loraFacts }
}

/** The identity of a server's LoRA: two folders can have files with the same name. */
export function loraFileOf ({ path, name }: Pick<Inventory['loras'][number], 'path' | 'name'>): string {
  return path === '' ? name : path
}

/** A1111's extension reports the number; Forge, which has it built in, only among all its settings. */
async function readControlNetUnits (client: A1111Client): Promise<number | null> {
  for (const path of ['/controlnet/settings', '/sdapi/v1/options']) {
    try {
      const number = numberOf(fieldsOf(await client.readJson(path, listCall)).control_net_unit_count)
      if (number !== null) return number
    } catch (error) {
      if (!isTolerable(error, 'controlNetModels')) throw error
    }
  }
  return null
}

/**
 * Only the checkpoints, which A1111 keeps in memory: enough to notice that other lists can have changed.
 * @throws GenerationFailure as `readInventory`
 */
export async function readCheckpoints (client: A1111Client): Promise<Checkpoint[]> {
  return itemsOf(await client.readJson(checkpointPath, listCall)).flatMap(checkpointOf)
}

/**
 * A missing route, or a list that an extension breaks, does not void the inventory; a server that went away does, since
 * half an inventory would pass for the whole. Without checkpoints nothing can be checked.
 */
function isTolerable (error: unknown, name: ListName): boolean {
  if (isMissing(error)) return true
  if (name === 'checkpoints' || !(error instanceof GenerationFailure)) return false
  return error.code === 'answer_timeout' || ['request', 'passing', 'bad-answer'].includes(error.failureClass)
}

/** Title and hash stay as reported: both are incomplete until the server has loaded the file once. */
function checkpointOf (item: JsonObject): Checkpoint[] {
  return named(item.title, title => ({
    title,
    modelName: textOf(item.model_name) ?? title,
    hash: textOf(item.hash),
    sha256: textOf(item.sha256),
    filename: textOf(item.filename) ?? ''
  }))
}

function schedulerOf (item: JsonObject): Scheduler[] {
  return named(item.name, name => ({ name, label: textOf(item.label) ?? name, aliases: textsOf(item.aliases) }))
}

/** The loaded ones and those for another kind of checkpoint; some servers return only names. */
function embeddingsOf (answer: unknown): string[] {
  const { loaded, skipped } = fieldsOf(answer)
  return [loaded, skipped].flatMap(list => Array.isArray(list) ? textsOf(list) : Object.keys(fieldsOf(list)))
}

function namesOf (answer: unknown): string[] {
  return itemsOf(answer).flatMap(item => named(item.name, name => name))
}

/** The value made of a name, or nothing if the server gave none. */
function named<Value> (name: unknown, make: (name: string) => Value): Value[] {
  return typeof name === 'string' ? [make(name)] : []
}

function itemsOf (answer: unknown): JsonObject[] {
  return Array.isArray(answer) ? answer.map(fieldsOf) : []
}
