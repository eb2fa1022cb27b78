import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import { readLists } from '../a1111/inventory.ts'
import { probeServer } from '../a1111/probe.ts'
import { GenerationFailure, type ServerTraits } from '../a1111/types.ts'
import { ignoring, messageOf, refuseMore, ServiceError } from '../lib/errors.ts'
import { serverNamed } from './choose.ts'
import { inWords, lostLists, missingAtStart, withListsOf } from './fresh-lists.ts'
import { answersLooks, lastAnswerOf, type Server, type ServerRegistry } from './registry.ts'
import type { ServerStateStore } from './state-store.ts'

/** What happens to the jobs of a removed server. */
export type JobsOfRemoved = 'refuse' | 'cancel' | 'move'

/** Operators' actions on servers beyond changing their records. */
export interface ServerService {
  readonly registry: ServerRegistry
  /** Probes a server now and records the result. Never throws because of the server. */
  test (server: Server): Promise<{ reachable: boolean, message: string, milliseconds: number }>
  /**
   * Removes a server; returns what happened to its jobs, in words.
   * @param to the server that gets the jobs, or `auto` for any
   * @param expected the most jobs that the client expects it to have
   * @throws ServiceError `server_has_jobs` with their number, `more_than_expected`, or about `to`
   */
  remove (server: Server, jobs: JobsOfRemoved, to?: string, expected?: number): Promise<string>
}

/** The actions on jobs that removing a server needs. */
export interface ServerJobs {
  waitingIds (serverId: string): Promise<string[]>
  running (serverId: string): Promise<ReadonlyArray<{ readonly id: string }>>
  /** Gives the jobs back that it claimed and has not begun, which any server can take. */
  unclaim (serverId: string): Promise<unknown>
  waitingOn (serverId: string): Promise<number>
  cancel (id: string): Promise<unknown>
  move (id: string, serverId: string): Promise<unknown>
}

export interface ServerServiceDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly store: ServerJobs
  /** Whether another server can run a job. @throws ServiceError 422 if it lacks something */
  readonly checkMove: (id: string, server: Server) => Promise<void>
  readonly connect: (server: Server) => A1111Client
  /** Deletes the queue of a removed server, and its checks. */
  readonly forget: (serverId: string) => Promise<void>
}

/** Where the jobs of a removed server go. */
interface Takers {
  /** The id of the only server that can run them afterwards; '' for any. */
  readonly target: string
  /** Those of which each job needs one that can run it. */
  readonly servers: readonly Server[]
  readonly inWords: string
}

/** How long a worker can take to stop its running job, and how often to check it, in milliseconds. */
const settleMs = 20_000
const settleInterval = 50
/** How long a test waits for a server that is starting, in milliseconds. */
const longestStart = 10_000

export function createServerService (dependencies: ServerServiceDependencies): ServerService {
  const { registry, states, store, checkMove, connect, forget } = dependencies

  /** Cancels the waiting jobs, or moves them; returns their number. */
  async function clearQueue (server: Server, takers: Takers | null): Promise<number> {
    const waiting = await store.waitingIds(server.id)
    for (const id of waiting) {
      const done = takers === null ? store.cancel(id) : store.move(id, takers.target)
      await done.catch(ignoring('job_operation_invalid'))
    }
    return waiting.length
  }

  async function cancelRunning (server: Server): Promise<void> {
    for (const { id } of await store.running(server.id)) await store.cancel(id).catch(ignoring('job_operation_invalid'))
  }

  /** @throws ServiceError unless `to` names another server, or any while there is one */
  function takersOf (server: Server, to: string | undefined): Takers {
    if (to === undefined) {
      throw new ServiceError('missing_required_field',
        'to must name the server that gets the jobs, or be auto for any.', { field: 'to' })
    }
    const taker = serverNamed(registry, to, 'to')
    if (taker?.id === server.id) {
      throw new ServiceError('invalid_field_value', 'to must name another server than the one to be removed.',
        { field: 'to' })
    }
    if (taker !== null) return { target: taker.id, servers: [taker], inWords: taker.alias }
    const servers = registry.list().filter(({ id, enabled }) => id !== server.id && enabled)
    if (servers.length > 0) return { target: '', servers, inWords: 'any server' }
    throw new ServiceError('no_server_available', `There is no enabled server besides ${server.alias} for its jobs.`,
      { field: 'to' })
  }

  /** The reason why none of the servers can run a job; null if one can. */
  async function refusalOf (id: string, servers: readonly Server[]): Promise<ServiceError | null> {
    let first: ServiceError | null = null
    for (const server of servers) {
      try {
        await checkMove(id, server)
        return null
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error
        if (error.code === 'job_not_found') return null
        first ??= error
      }
    }
    return first
  }

  /** @throws ServiceError with the reason of the first job that no taker can run, and their number */
  async function requireFit (server: Server, { servers }: Takers): Promise<void> {
    const running = await store.running(server.id)
    const refusals: ServiceError[] = []
    for (const id of [...await store.waitingIds(server.id), ...running.map(job => job.id)]) {
      const refusal = await refusalOf(id, servers)
      if (refusal !== null) refusals.push(refusal)
    }
    const [first] = refusals
    if (first === undefined) return
    const count = refusals.length
    throw new ServiceError(first.code, `${jobsInWords(count)} of ${server.alias} cannot move, so nothing was done. ` +
      `${count === 1 ? 'The reason' : 'The first reason'}: ${first.message}`,
    { ...first.details, field: 'to', refused_count: count })
  }

  /** Waits until its worker has returned or finished the running job, or does not answer. */
  async function untilIdle (server: Server): Promise<void> {
    const deadline = performance.now() + settleMs
    while ((await store.running(server.id)).length > 0) {
      if (performance.now() > deadline) {
        throw new ServiceError('server_has_jobs', `${server.alias} still runs a job that its worker does not release; ` +
          'it is disabled now. Try again in a moment.')
      }
      await sleep(settleInterval)
    }
  }

  return {
    registry,
    async test (server) {
      const begin = performance.now()
      const client = connect(server)
      const before = await states.read(server.id)
      const timestamp = Date.now()
      try {
        const known = await states.freshInventory(server.id)
        const found = await probeOnceStarted(client)
        const { inventory: read, loraFacts } = await readLists(client, found, null, new Set())
        const lacking = missingAtStart(known, read, found)
        if (lacking.length > 0 && !answersLooks(before)) {
          throw new GenerationFailure('server-down', 'server_starting',
            `The server answers, and is still starting: it does not offer its ${inWords(lacking)} yet.`)
        }
        const traits = before?.traits == null ? found : withRoutesOf(before.traits, found)
        const inventory = known === null ? read : withListsOf(known, read, lostLists(known, read))
        await states.writeInventory(server.id, inventory, loraFacts)
        await states.write(server.id, {
          reachable: 'yes',
          since: before?.reachable === 'yes' ? before.since : timestamp,
          checkedAt: timestamp,
          answeredAt: timestamp,
          lastError: null,
          traits,
          inventoryReadAt: inventory.readAt,
          baseUrl: server.address.baseUrl
        })
        const version = traits.version === null ? '' : ` ${traits.version}`
        return {
          reachable: true,
          message: `${traits.kind}${version} with ${inventory.checkpoints.length} checkpoints.`,
          milliseconds: Math.round(performance.now() - begin)
        }
      } catch (error) {
        const unauthorized = error instanceof GenerationFailure && error.failureClass === 'unauthorized'
        const reachable = unauthorized ? 'unauthorized' : 'no'
        await states.write(server.id, {
          traits: null,
          inventoryReadAt: null,
          ...before,
          reachable,
          since: before?.reachable === reachable ? before.since : timestamp,
          checkedAt: timestamp,
          answeredAt: unauthorized ? timestamp : lastAnswerOf(before),
          lastError: messageOf(error)
        })
        return { reachable: false, message: messageOf(error), milliseconds: Math.round(performance.now() - begin) }
      } finally {
        await client.close()
      }
    },
    async remove (server, jobs, to, expected) {
      const waiting = await store.waitingOn(server.id)
      const running = (await store.running(server.id)).length
      if (jobs === 'refuse' && waiting + running > 0) {
        throw new ServiceError('server_has_jobs', `${server.alias} has ${counted(waiting, running)}. ` +
          'Add ?jobs=cancel, or ?jobs=move&to=<alias or auto>, to choose what happens to them.', { waiting, running })
      }
      if (jobs !== 'move' && to !== undefined) {
        throw new ServiceError('invalid_field_value', 'to needs jobs=move.', { field: 'to' })
      }
      refuseMore(waiting + running, expected)
      if (server.origin === 'settings') {
        throw new ServiceError('server_from_settings', `${server.alias} comes from the settings SERVERS or A1111_URL; ` +
          'remove it there, or disable it here.')
      }
      const takers = jobs === 'move' ? takersOf(server, to) : null
      if (takers !== null) await requireFit(server, takers)
      // Its worker stops the running job, and no further job enters its queue.
      await registry.update(server.id, { enabled: false })
      await store.unclaim(server.id)
      const cancelled = takers === null ? await clearQueue(server, null) : 0
      if (takers === null) await cancelRunning(server)
      await untilIdle(server)
      const moved = takers === null ? 0 : await clearQueue(server, takers)
      await registry.remove(server.id)
      // A request that was under way can have added one more.
      await clearQueue(server, takers)
      await states.forget(server.id)
      await forget(server.id)
      if (takers !== null) return `${jobsInWords(moved)} moved to ${takers.inWords}`
      return cancelled + running === 0 ? '' : `${counted(cancelled, running)} cancelled`
    }
  }
}

/** A server that accepts connections again is probed soon; the client here sees only the final answer. */
async function probeOnceStarted (client: A1111Client): Promise<ServerTraits> {
  return await probeServer(client).catch(async (error: unknown) => {
    const waitMs = error instanceof GenerationFailure && error.code === 'server_starting' ? error.retryAfterMs : null
    if (waitMs === null || waitMs > longestStart) throw error
    await sleep(waitMs + 1)
    return await probeServer(client)
  })
}

/** The process that serves the server determines its routes once per start. */
function withRoutesOf ({ capabilities, missingRoutes }: ServerTraits, found: ServerTraits): ServerTraits {
  const { interrupt, img2img } = capabilities
  return {
    ...found,
    capabilities: { ...found.capabilities, interrupt, img2img },
    ...missingRoutes === undefined ? {} : { missingRoutes }
  }
}

function counted (waiting: number, running: number): string {
  return `${jobsInWords(waiting, 'waiting ')} and ${jobsInWords(running, 'running ')}`
}

function jobsInWords (count: number, kind = ''): string {
  return `${count} ${kind}job${count === 1 ? '' : 's'}`
}
