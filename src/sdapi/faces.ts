import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import { isMissing } from '../a1111/failures.ts'
import { fieldsOf, type JsonObject } from '../a1111/json-values.ts'
import type { SmallCallOptions } from '../a1111/small-calls.ts'
import { readCandidates } from '../servers/choose.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import { optionsForPeople } from '../servers/kept-options.ts'
import { answersLooks, sameAddress, type Server, type ServerState } from '../servers/server.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { listOfInventory, type LastKnown } from './last-known.ts'

/** The servers as their own API shows them, for clients that expect to talk to one of them. */
export interface ServerFaces {
  /** Enabled servers that answer, best first; only the named one where there is a name. */
  reachable (target: string): Promise<Server[]>
  /** The one that will be free first, or the named one, and whether it answers; null where none is enabled. */
  free (target: string): Promise<{ readonly server: Server, readonly answers: boolean } | null>
  /** What a server answers to GET; remembered for a few seconds. */
  read (server: Server, path: string): Promise<unknown>
  /** The same of all enabled servers, or the named one: while one is away, what it answered last. */
  readAll (path: string, target: string): Promise<unknown[]>
  /** The options of the best server as people have set them, whatever jobs run; none while nothing is known of any. */
  options (target: string): Promise<JsonObject>
  client (server: Server): A1111Client
  close (): Promise<void>
}

export interface ServerFacesDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly waitingOn: (serverId: string) => Promise<number>
  readonly connect: (server: Server) => A1111Client
  readonly lastKnown: LastKnown
  /** Milliseconds for which the first look at a server is waited for, as after our own start. */
  readonly firstLookMs?: number
}

const optionsPath = '/sdapi/v1/options'
/** Clients ask for every list at their start, several times over. */
const rememberedForMs = 5000
const mostRemembered = 500
/** LoRAs carry megabytes of training metadata that no client of the API reads. */
const callOptions: SmallCallOptions = { timeoutMs: 10_000, maxAnswerBytes: 64 * 1024 * 1024, leaveOut: ['metadata'] }

const usualFirstLookMs = 5000
/** Between two looks whether there is something to answer, in milliseconds. */
const lookAgainMs = 50

export function createServerFaces (dependencies: ServerFacesDependencies): ServerFaces {
  const { registry, states, waitingOn, connect, lastKnown, firstLookMs = usualFirstLookMs } = dependencies
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
    if (target !== '') return [registry.require(target)]
    // A list is as long to read from a busy server as from an idle one, so lines do not count.
    const ranked = await readCandidates(registry.list(), states, async () => 0)
    return ranked.filter(({ state }) => answersLooks(state)).map(({ server }) => server)
  }

  async function free (target: string): Promise<{ server: Server, answers: boolean } | null> {
    const servers = target === '' ? registry.list() : [registry.require(target)]
    const [best] = await readCandidates(servers, states, waitingOn)
    return best === undefined ? null : { server: best.server, answers: best.state?.reachable === 'yes' }
  }

  /** Without what a job overrides for its own time, which clients would take for everybody's and send back. */
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
    if (remembered.size >= mostRemembered && !oldest.done) remembered.delete(oldest.value)
    remembered.set(name, { answer, until: performance.now() + rememberedForMs })
    answer.then(value => { lastKnown.keep(server, path, value) }, () => { remembered.delete(name) })
    return await answer
  }

  /** Undefined where neither the server nor what is known of it says anything. */
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

  /** Once, without waiting; null where a server was not looked at yet and nothing is known of it either. */
  async function readKnown (path: string, target: string): Promise<unknown[] | null> {
    const servers = target === '' ? registry.list() : [registry.require(target)]
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
