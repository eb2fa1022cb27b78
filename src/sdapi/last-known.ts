import type { Redis } from 'ioredis'
import type { Inventory } from '../a1111/types.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import type { Log } from '../log.ts'
import type { Keys } from '../redis/keys.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import { answersLooks, type Server } from '../servers/server.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { listNames, withoutSecrets } from './lists.ts'

/** What servers answered last, for clients that ask while those are away. */
export interface LastKnown {
  /** Does not wait: a list that is not kept is only missed later. */
  keep (server: Server, path: string, answer: unknown): void
  /** Undefined where the server was never heard of it. */
  recall (server: Server, path: string): Promise<unknown>
}

/**
 * What is read once whenever a server comes within reach, so that clients find it later. LoRAs are long to list, and an
 * inventory has them.
 */
const keptPaths: readonly string[] = [
  ...listNames.filter(name => name !== 'loras'), 'embeddings', 'scripts', 'options', 'cmd-flags', 'memory'
].map(name => `/sdapi/v1/${name}`).concat([
  '/controlnet/version', '/controlnet/model_list', '/controlnet/module_list', '/controlnet/control_types', '/controlnet/settings'
])

/** Larger answers are not worth their room in Redis, in characters. */
const longestKept = 2_000_000
/** Answers with passwords in clear. */
const telling = new Set(['/sdapi/v1/options', '/sdapi/v1/cmd-flags'])

export function createLastKnown (redis: Redis, keys: Keys): LastKnown {
  const answersKey = ({ id }: Server) => keys.key('server', id, 'answers')
  // A server at another address is another one.
  const fieldOf = ({ address }: Server, path: string) => `${address.baseUrl} ${path}`
  const written = new Map<string, string>()

  return {
    keep (server, path, answer) {
      const text = stringifyJson(telling.has(path) ? withoutSecrets(answer) : answer)
      const field = fieldOf(server, path)
      const name = `${server.id} ${field}`
      if (text.length > longestKept || written.get(name) === text) return
      written.set(name, text)
      redis.hset(answersKey(server), field, text).catch(() => { written.delete(name) })
    },
    async recall (server, path) {
      const text = await redis.hget(answersKey(server), fieldOf(server, path))
      return text === null ? undefined : parseJsonText(text)
    }
  }
}

export interface KeepingDependencies {
  readonly redis: Redis
  /** A connection in subscriber mode. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly registry: Pick<ServerRegistry, 'byId' | 'list'>
  readonly states: Pick<ServerStateStore, 'readMany'>
  readonly log: Log
  /** Asks a server for a list and keeps the answer. */
  readonly read: (server: Server, path: string) => Promise<unknown>
}

/** Processes that hear of the same server at once read its lists once, in milliseconds. */
const readTogether = 30_000

/** Reads what clients may ask of a server later, when it may be away; gives what ends it. */
export function readWhenReachable (
  { redis, subscriber, keys, registry, states, log, read: readPath }: KeepingDependencies
): () => void {
  const channel = keys.channel('jobs')

  async function readKept (serverId: string): Promise<void> {
    const server = registry.byId(serverId)
    if (server === undefined || !server.enabled) return
    const claim = await redis.set(keys.key('server', serverId, 'answers-read'), '1', 'PX', readTogether, 'NX')
    if (claim !== 'OK') return
    // at once, so that it is over soon; the client keeps few connections
    await Promise.allSettled(keptPaths.map(async path => await readPath(server, path)))
  }

  function read (serverId: string): void {
    readKept(serverId).catch(error => { log.debug({ server: serverId, err: error }, 'lists could not be kept') })
  }

  function hear (from: string, message: string): void {
    if (from !== channel || !message.includes('"server-up"')) return
    const { kind, server } = JSON.parse(message) as { kind: string, server: string }
    if (kind === 'server-up') read(server)
  }

  subscriber.on('message', hear)
  states.readMany(registry.list().map(({ id }) => id)).then(known => {
    registry.list().forEach(({ id }, index) => { if (answersLooks(known[index] ?? null)) read(id) })
  }, () => undefined)
  return () => { subscriber.off('message', hear) }
}

type Lists = Readonly<Record<string, (inventory: Inventory) => unknown>>

const named = (names: readonly string[], rest: object = {}) => names.map(name => ({ name, ...rest }))
const noFacts = { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: 0, vectors: 0 }

/** What an inventory says, in the shapes of A1111's lists, where the list itself was never kept. */
const fromInventory: Lists = {
  '/sdapi/v1/samplers': ({ samplers }) => samplers.map(sampler => ({ ...sampler, options: {} })),
  '/sdapi/v1/schedulers': ({ schedulers }) =>
    schedulers.map(scheduler => ({ ...scheduler, default_rho: -1, need_inner_model: false })),
  '/sdapi/v1/upscalers': ({ upscalers }) =>
    named(upscalers, { model_name: null, model_path: null, model_url: null, scale: 4 }),
  '/sdapi/v1/latent-upscale-modes': ({ latentUpscaleModes }) => named(latentUpscaleModes),
  '/sdapi/v1/sd-models': ({ checkpoints }) => checkpoints.map(({ title, modelName, hash, sha256, filename }) =>
    ({ title, model_name: modelName, hash, sha256, filename, config: null })),
  '/sdapi/v1/sd-vae': ({ vaes }) => vaes.map(name => ({ model_name: name, filename: name })),
  '/sdapi/v1/prompt-styles': ({ styles }) => named(styles, { prompt: '', negative_prompt: '' }),
  '/sdapi/v1/loras': ({ loras }) => loras.map(lora => ({ ...lora, metadata: {} })),
  '/sdapi/v1/embeddings': ({ embeddings }) =>
    ({ loaded: Object.fromEntries(embeddings.map(name => [name, noFacts])), skipped: {} }),
  '/sdapi/v1/scripts': ({ scripts }) => scripts,
  '/controlnet/model_list': ({ controlNetModels }) => ({ model_list: controlNetModels }),
  '/controlnet/module_list': ({ controlNetModules }) => ({ module_list: controlNetModules })
}

const listsByPath: Readonly<Record<string, Inventory['missing'][number]>> = {
  '/sdapi/v1/samplers': 'samplers',
  '/sdapi/v1/schedulers': 'schedulers',
  '/sdapi/v1/upscalers': 'upscalers',
  '/sdapi/v1/latent-upscale-modes': 'latentUpscaleModes',
  '/sdapi/v1/sd-vae': 'vaes',
  '/sdapi/v1/prompt-styles': 'styles',
  '/sdapi/v1/loras': 'loras',
  '/sdapi/v1/embeddings': 'embeddings',
  '/sdapi/v1/scripts': 'scripts',
  '/controlnet/model_list': 'controlNetModels',
  '/controlnet/module_list': 'controlNetModules'
}

/** Undefined where the inventory says nothing of it. */
export function listOfInventory (path: string, inventory: Inventory | null): unknown {
  const plain = path.split('?')[0] ?? ''
  const list = listsByPath[plain]
  if (inventory === null || (list !== undefined && inventory.missing.includes(list))) return undefined
  return fromInventory[plain]?.(inventory)
}
