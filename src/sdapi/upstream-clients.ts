import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { A1111Client } from '../a1111/client.ts'
import { isMissing } from '../a1111/failures.ts'
import type { SmallCallOptions } from '../a1111/small-calls.ts'
import type { Inventory } from '../a1111/types.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { fieldsOf, type JsonObject } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { readCandidates, serverNamed } from '../servers/choose.ts'
import { answersLooks, sameAddress, type Server, type ServerRegistry, type ServerState } from '../servers/registry.ts'
import { optionsForPeople, type ServerStateStore } from '../servers/state-store.ts'
import { listNames, withoutSecrets } from './lists.ts'

/** The servers' last answers, for requests while those are away. */
interface LastKnown {
  /** Does not wait: a list that is not stored is only missed later. */
  keep (server: Server, path: string, answer: unknown): void
  /** Undefined if the server never gave it. */
  recall (server: Server, path: string): Promise<unknown>
}

/**
 * Lists that are read whenever a server becomes reachable, so that clients find them later. LoRAs take long to list,
 * and an inventory has them.
 */
const keptPaths: readonly string[] = [
  ...listNames.filter(name => name !== 'loras'), 'embeddings', 'scripts', 'options', 'cmd-flags', 'memory'
].map(name => `/sdapi/v1/${name}`).concat([
  '/controlnet/version', '/controlnet/model_list', '/controlnet/module_list', '/controlnet/control_types', '/controlnet/settings'
])

/** Larger answers are not worth their memory in Redis, in characters. */
const longestKept = 2_000_000
/** Answers with passwords in clear. */
const withSecretAnswers = new Set(['/sdapi/v1/options', '/sdapi/v1/cmd-flags'])

export function createLastKnown (redis: Redis, keys: Keys): LastKnown {
  const answersKey = ({ id }: Server) => keys.key('server', id, 'answers')
  // A server at another address is another one.
  const fieldOf = ({ address }: Server, path: string) => `${address.baseUrl} ${path}`
  const written = new Map<string, string>()

  return {
    keep (server, path, answer) {
      const text = stringifyJson(withSecretAnswers.has(path) ? withoutSecrets(answer) : answer)
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

/** Processes that learn of the same server at once read its lists once, in milliseconds. */
const readTogether = 30_000

/** Reads lists that clients can request later, when the server can be away; returns a function that ends it. */
export function readWhenReachable (
  { redis, subscriber, keys, registry, states, log, read: readPath }: KeepingDependencies
): () => void {
  const channel = keys.channel('jobs')

  async function readKept (serverId: string): Promise<void> {
    const server = registry.byId(serverId)
    if (server === undefined || !server.enabled) return
    const claim = await redis.set(keys.key('server', serverId, 'answers-read'), '1', 'PX', readTogether, 'NX')
    if (claim !== 'OK') return
    // at once, so that it finishes soon; the client keeps few connections
    await Promise.allSettled(keptPaths.map(async path => await readPath(server, path)))
  }

  function read (serverId: string): void {
    readKept(serverId).catch(error => { log.debug({ server: serverId, err: error }, 'lists could not be kept') })
  }

  function onMessage (from: string, message: string): void {
    if (from !== channel || !message.includes('"server-up"')) return
    const { kind, server } = JSON.parse(message) as { kind: string, server: string }
    if (kind === 'server-up') read(server)
  }

  subscriber.on('message', onMessage)
  states.readMany(registry.list().map(({ id }) => id)).then(known => {
    registry.list().forEach(({ id }, index) => { if (answersLooks(known[index] ?? null)) read(id) })
  }, () => undefined)
  return () => { subscriber.off('message', onMessage) }
}

type Lists = Readonly<Record<string, (inventory: Inventory) => unknown>>

const named = (names: readonly string[], rest: object = {}) => names.map(name => ({ name, ...rest }))
const noFacts = { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: 0, vectors: 0 }

/** Lists of an inventory in the shapes of A1111's, for lists that were never stored. */
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

/** Undefined if the inventory has nothing of it. */
function listOfInventory (path: string, inventory: Inventory | null): unknown {
  const plain = path.split('?')[0] ?? ''
  const list = listsByPath[plain]
  if (inventory === null || (list !== undefined && inventory.missing.includes(list))) return undefined
  return fromInventory[plain]?.(inventory)
}

/** The servers in the view of their own API, for clients that expect to talk to one of them. */
export interface UpstreamClients {
  /** Enabled servers that answer, best first; only the named one if there is a name. */
  reachable (target: string): Promise<Server[]>
  /** The one that will be free first, or the named one, and whether it answers; null if none is enabled. */
  free (target: string): Promise<{ readonly server: Server, readonly answers: boolean } | null>
  /** A server's answer to GET; cached for a few seconds. */
  read (server: Server, path: string): Promise<unknown>
  /** The same of all enabled servers, or the named one: while one is away, its last answer. */
  readAll (path: string, target: string): Promise<unknown[]>
  /** The options of the best server as people have set them, whatever jobs run; none while nothing is known of any. */
  options (target: string): Promise<JsonObject>
  client (server: Server): A1111Client
  close (): Promise<void>
}

export interface UpstreamClientsDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly waitingOn: (serverId: string) => Promise<number>
  readonly connect: (server: Server) => A1111Client
  readonly lastKnown: LastKnown
  /** How long to wait for the first check of a server, as after our own start, in milliseconds. */
  readonly firstLookMs?: number
}

const optionsPath = '/sdapi/v1/options'
/** Clients ask for every list at their start, several times over. */
const rememberedForMs = 5000
const maxRemembered = 500
/** LoRAs carry megabytes of training metadata that no client of the API reads. */
const callOptions: SmallCallOptions = { timeoutMs: 10_000, maxAnswerBytes: 64 * 1024 * 1024, leaveOut: ['metadata'] }

const defaultFirstLookMs = 5000
/** Interval of checks for an available answer, in milliseconds. */
const lookAgainMs = 50

export function createUpstreamClients (dependencies: UpstreamClientsDependencies): UpstreamClients {
  const { registry, states, waitingOn, connect, lastKnown, firstLookMs = defaultFirstLookMs } = dependencies
  const clients = new Map<string, { server: Server, client: A1111Client }>()
  const remembered = new Map<string, { answer: Promise<unknown>, until: number }>()

  function client (server: Server): A1111Client {
    const known = clients.get(server.id)
    if (known !== undefined && sameAddress(known.server.address, server.address)) return known.client
    known?.client.close().catch(() => undefined)
    const fresh = connect(server)
    clients.set(server.id, { server, client: fresh })
    return fresh
  }

  async function reachable (target: string): Promise<Server[]> {
    const named = serverNamed(registry, target)
    if (named !== null) return [named]
    // A list takes as long from a busy server as from an idle one, so queues do not count.
    const ranked = await readCandidates(registry.list(), states, async () => 0)
    return ranked.filter(({ state }) => answersLooks(state)).map(({ server }) => server)
  }

  async function free (target: string): Promise<{ server: Server, answers: boolean } | null> {
    const named = serverNamed(registry, target)
    const servers = named === null ? registry.list() : [named]
    const [best] = await readCandidates(servers, states, waitingOn)
    return best === undefined ? null : { server: best.server, answers: best.state?.reachable === 'yes' }
  }

  /** Without a job's temporary overrides, which clients would take for everyone's and send back. */
  async function readOptions (server: Server): Promise<unknown> {
    const kept = async () => {
      const found = await states.options.read(server.id)
      return found?.baseUrl === server.address.baseUrl ? found : null
    }
    const before = await kept()
    const answer = fieldsOf(await client(server).readJson(optionsPath, callOptions))
    return optionsForPeople(answer, [before, await kept()])
  }

  async function read (server: Server, path: string): Promise<unknown> {
    const name = `${server.id} ${server.updatedAt} ${path}`
    const found = remembered.get(name)
    if (found !== undefined && performance.now() < found.until) return await found.answer
    const answer = path === optionsPath ? readOptions(server) : client(server).readJson(path, callOptions)
    const oldest = remembered.keys().next()
    if (remembered.size >= maxRemembered && !oldest.done) remembered.delete(oldest.value)
    remembered.set(name, { answer, until: performance.now() + rememberedForMs })
    answer.then(value => { lastKnown.keep(server, path, value) }, () => { remembered.delete(name) })
    return await answer
  }

  /** Undefined if neither the server nor its stored answers have it. */
  async function readOrRecall (server: Server, state: ServerState | null, path: string): Promise<unknown> {
    if (answersLooks(state)) {
      try {
        return await read(server, path)
      } catch (error) {
        if (isMissing(error)) return undefined
      }
    }
    return await lastKnown.recall(server, path) ?? listOfInventory(path, await states.inventory(server.id))
  }

  /** Once, without waiting; null if a server was not checked yet and has no stored answer either. */
  async function readKnown (path: string, target: string): Promise<unknown[] | null> {
    const named = serverNamed(registry, target)
    const servers = named === null ? registry.list() : [named]
    const candidates = await readCandidates(servers, states, async () => 0)
    const answers = await Promise.all(candidates.map(async ({ server, state }) =>
      await readOrRecall(server, state, path)))
    const known = answers.filter(answer => answer !== undefined)
    return known.length === 0 && candidates.some(({ state }) => state === null) ? null : known
  }

  async function readAll (path: string, target: string): Promise<unknown[]> {
    const giveUpAt = performance.now() + firstLookMs
    for (;;) {
      const known = await readKnown(path, target)
      if (known !== null || performance.now() > giveUpAt) return known ?? []
      await sleep(lookAgainMs)
    }
  }

  return {
    reachable,
    free,
    read,
    readAll,
    client,
    options: async target => fieldsOf((await readAll(optionsPath, target))[0]),
    async close () {
      await Promise.all([...clients.values()].map(async ({ client: open }) => { await open.close() }))
      clients.clear()
    }
  }
}
