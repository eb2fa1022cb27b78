import type { A1111Client } from './client.ts'
import { isMissing } from './failures.ts'
import { fieldsOf, numberOf, textOf, textsOf, type JsonObject } from './json-values.ts'
import { rulesOf } from './kinds/registry.ts'
import type { SmallCallOptions } from './small-calls.ts'
import {
  GenerationFailure, type Checkpoint, type Inventory, type ListName, type Scheduler, type ServerTraits
} from './types.ts'

/** LoRA lists carry megabytes of training metadata, which is left out, and are slow to make. */
const loraCall: SmallCallOptions = { timeoutMs: 30_000, maxAnswerBytes: 512 * 1024 * 1024, leaveOut: ['metadata'] }
const checkpointPath = '/sdapi/v1/sd-models'
/** A server with thousands of files on a network disk needs its time. */
const listCall: SmallCallOptions = { timeoutMs: 15_000 }

/**
 * Reads all lists at once. None of them waits for the generation lock, so it works beside a running generation;
 * nothing is refreshed. A list that the server does not have, or fails to give, is empty and named in `missing`.
 *
 * @throws GenerationFailure if the server cannot be reached, does not let us in, or fails to list its checkpoints
 */
export async function readInventory (client: A1111Client, traits: ServerTraits): Promise<Inventory> {
  return await readLists(client, traits, null, new Set())
}

/**
 * The same, where only some lists are read and the others stay as they are known.
 * @param known null reads all of them
 */
export async function readLists (
  client: A1111Client, traits: ServerTraits, known: Inventory | null, wanted: ReadonlySet<ListName>
): Promise<Inventory> {
  const missing: ListName[] = []

  async function read<Value> (
    name: ListName, paths: readonly string[], parse: (answer: unknown) => Value, options = listCall
  ): Promise<Value> {
    if (known !== null && !wanted.has(name)) {
      if (known.missing.includes(name)) missing.push(name)
      return known[name] as Value
    }
    for (const path of paths) {
      try {
        return parse(await client.readJson(path, options))
      } catch (error) {
        if (!isTolerable(error, name)) throw error
      }
    }
    missing.push(name)
    return parse(null)
  }

  const [
    checkpoints, samplers, schedulers, upscalers, latentUpscaleModes, vaes, loras, embeddings, styles, scripts,
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
    read('loras', ['/sdapi/v1/loras'], answer => itemsOf(answer).flatMap(item =>
      named(item.name, name => ({ name, alias: textOf(item.alias) ?? name, path: textOf(item.path) ?? '' }))), loraCall),
    read('embeddings', ['/sdapi/v1/embeddings'], embeddingsOf),
    read('styles', ['/sdapi/v1/prompt-styles'], namesOf),
    read('scripts', ['/sdapi/v1/scripts'], answer => ({
      txt2img: textsOf(fieldsOf(answer).txt2img), img2img: textsOf(fieldsOf(answer).img2img)
    })),
    read('controlNetModels', ['/controlnet/model_list'], answer => textsOf(fieldsOf(answer).model_list)),
    read('controlNetModules', ['/controlnet/module_list'], answer => textsOf(fieldsOf(answer).module_list)),
    // units may name a module by its label as well
    read('controlNetModules', ['/controlnet/module_list?alias_names=true'], answer => textsOf(fieldsOf(answer).module_list)),
    known === null ? readControlNetUnits(client) : known.controlNetUnits ?? null
  ])
  return {
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
}

/** A1111's extension tells the number; Forge, which has it built in, only among all its settings. */
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
 * The checkpoints alone, which A1111 has at hand: enough to notice that the rest may have changed.
 * @throws GenerationFailure as `readInventory`
 */
export async function readCheckpoints (client: A1111Client): Promise<Checkpoint[]> {
  return itemsOf(await client.readJson(checkpointPath, listCall)).flatMap(checkpointOf)
}

/**
 * A route that is missing or a list that one extension breaks is no reason to know nothing; a server that went
 * away is, or half an inventory would pass for the whole. Without checkpoints nothing can be checked.
 */
function isTolerable (error: unknown, name: ListName): boolean {
  if (isMissing(error)) return true
  if (name === 'checkpoints' || !(error instanceof GenerationFailure)) return false
  return error.code === 'answer_timeout' || ['request', 'passing', 'bad-answer'].includes(error.failureClass)
}

/** Title and hash stay as they are said: both are unknown until the server has loaded the file once. */
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

/** The loaded ones and those that fit another kind of checkpoint than the loaded one; some servers give only names. */
function embeddingsOf (answer: unknown): string[] {
  const { loaded, skipped } = fieldsOf(answer)
  return [loaded, skipped].flatMap(list => Array.isArray(list) ? textsOf(list) : Object.keys(fieldsOf(list)))
}

function namesOf (answer: unknown): string[] {
  return itemsOf(answer).flatMap(item => named(item.name, name => name))
}

/** The value made of a name, or nothing where the server gave none. */
function named<Value> (name: unknown, make: (name: string) => Value): Value[] {
  return typeof name === 'string' ? [make(name)] : []
}

function itemsOf (answer: unknown): JsonObject[] {
  return Array.isArray(answer) ? answer.map(fieldsOf) : []
}
