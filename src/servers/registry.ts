import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Redis } from 'ioredis'
import { nearest } from '../a1111/names.ts'
import type { ServerAddress, ServerTraits } from '../a1111/types.ts'
import type { Encryptor } from '../access/secrets.ts'
import { createEventPublisher, type ServiceEventKind } from '../events/event.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { ConnectionOptions } from './address.ts'

export type ServerOrigin = 'user' | 'settings' | 'found' | 'simulator'

/** When the checkpoint that people selected at a server is selected there again after jobs with others. */
export type RestoreSelection = typeof restoreSelections[number]
export const restoreSelections = ['when idle', 'always', 'never'] as const

/** A server as the registry knows it, with its password decrypted. Timestamps are milliseconds since the epoch. */
export interface Server {
  readonly id: string
  readonly alias: string
  readonly address: ServerAddress
  readonly description: string | null
  readonly enabled: boolean
  /** Paused by an operator; health pauses the queue independently. */
  readonly paused: boolean
  /** Why it is paused, in the operator's words; null if none were given. */
  readonly pauseReason: string | null
  /** Paused since; null if it is not paused, or was paused by a version that did not store it. */
  readonly pausedAt: number | null
  /** An operator takes it out: it finishes what runs and begins nothing more, whether it is paused or not. */
  readonly draining: boolean
  /** Draining since; null if it is not. */
  readonly drainingAt: number | null
  readonly jobTimeoutSeconds: number | null
  readonly restoreSelection: RestoreSelection
  readonly origin: ServerOrigin
  readonly createdAt: number
  readonly updatedAt: number
}

/** The last known state of a server, kept in Redis so that no list waits for a live probe. */
export interface ServerState {
  /** `suspected`: it answers its probes, but has a break because generations failed. */
  readonly reachable: 'yes' | 'no' | 'unauthorized' | 'suspected'
  readonly since: number
  readonly checkedAt: number
  /** When it last answered; null if it never did. Absent in records of earlier versions. */
  readonly answeredAt?: number | null | undefined
  readonly lastError: string | null
  readonly traits: ServerTraits | null
  /** Time of the stored inventory; null while there is none. */
  readonly inventoryReadAt: number | null
  /** Its address at that time; absent in records of earlier versions. */
  readonly baseUrl?: string | undefined
}

/** Whether a server answers, even if not for generations. */
export function answersLooks (state: ServerState | null): boolean {
  return state?.reachable === 'yes' || state?.reachable === 'suspected'
}

/** When a server last answered; null if it never did. In a record of an earlier version, when it went away. */
export function lastAnswerOf (state: ServerState | null): number | null {
  if (state === null || state.answeredAt !== undefined) return state?.answeredAt ?? null
  if (answersLooks(state)) return state.checkedAt
  return state.traits === null ? null : state.since
}

/** What any process stored of a server, if it was at this address. */
export function stateAt ({ baseUrl }: Pick<ServerAddress, 'baseUrl'>, stored: ServerState | null): ServerState | null {
  return stored?.baseUrl === baseUrl ? stored : null
}

/** Whether requests to two addresses are the same: address, user and everything that is sent along. */
export function sameAddress (one: ServerAddress, other: ServerAddress): boolean {
  return isDeepStrictEqual(one, other)
}

/** The fields of a new server. */
export interface NewServer {
  readonly alias: string
  readonly address: ServerAddress
  readonly origin: ServerOrigin
  readonly description?: string | null
  readonly enabled?: boolean
  readonly jobTimeoutSeconds?: number | null
  readonly restoreSelection?: RestoreSelection
}

export type ServerChange = Partial<Pick<Server,
  'alias' | 'address' | 'description' | 'enabled' | 'paused' | 'pauseReason' | 'draining' | 'jobTimeoutSeconds' |
  'restoreSelection'>>

export interface ServerRegistry {
  /** Every server, oldest first, from memory. */
  list (): readonly Server[]
  byId (id: string): Server | undefined
  /** Ignores case. */
  byAlias (alias: string): Server | undefined
  /**
   * @param field input that names the server
   * @throws ServiceError `server_not_found` with the nearest aliases
   */
  require (alias: string, field?: string): Server
  /** @throws ServiceError `server_exists` */
  add (server: NewServer): Promise<Server>
  /** @throws ServiceError `server_not_found` or `server_exists` */
  update (id: string, change: ServerChange): Promise<Server>
  remove (id: string): Promise<void>
  /** Reloads everything; notifies `onChange` listeners if something changed. */
  refresh (): Promise<void>
  /** Calls back after each change by any process. Returns the function that ends it. */
  onChange (listener: () => void): () => void
}

/** A record as Redis holds it: the password and everything else secret is encrypted. */
interface StoredServer extends Omit<Server, 'address' | 'pauseReason' | 'draining' | 'drainingAt' | 'restoreSelection'> {
  readonly draining?: boolean
  readonly drainingAt?: number | null
  readonly restoreSelection?: RestoreSelection
  readonly pauseReason?: string | null
  readonly baseUrl: string
  readonly username?: string
  readonly password?: string
  /** Headers, token and certificates as JSON. */
  readonly options?: string
}

const writeServer = loadScript<[records: string, holders: string],
  [id: string, read: string, record: string, name: string, nameBefore: string], 'written' | 'changed' | 'taken'>(
  new URL('scripts/write-server.lua', import.meta.url))

const removeServer = loadScript<[records: string, holders: string], [id: string, name: string], null>(
  new URL('scripts/remove-server.lua', import.meta.url))

export interface ServerRegistryDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly encryptor: Encryptor
}

/**
 * The servers, kept in Redis and mirrored in the memory of each process. A notice on the `servers` channel reports a
 * change to the others; the owner of the subscriber calls `refresh` for it.
 */
export function createServerRegistry ({ redis, keys, encryptor }: ServerRegistryDependencies): ServerRegistry {
  const recordsKey = keys.key('servers')
  const aliasesKey = keys.key('server-aliases')
  const publish = createEventPublisher(redis, keys)
  const listeners = new Set<() => void>()
  let servers: readonly Server[] = []
  let mirrored = ''

  const aliasName = (alias: string) => alias.trim().toLowerCase()
  const passwordContext = (id: string) => `server:${id}:password`
  const optionsContext = (id: string) => `server:${id}:options`

  function store (server: Server): StoredServer {
    const { address: { baseUrl, username, password, ...options }, ...rest } = server
    return {
      ...rest,
      baseUrl,
      ...(username === undefined ? {} : { username, password: encryptor.seal(password ?? '', passwordContext(server.id)) }),
      ...(Object.keys(options).length === 0
        ? {}
        : { options: encryptor.seal(JSON.stringify(options), optionsContext(server.id)) })
    }
  }

  function restore ({ baseUrl, username, password, options: sealed, ...rest }: StoredServer): Server {
    const credentials = username === undefined || password === undefined
      ? {}
      : { username, password: encryptor.open(password, passwordContext(rest.id)) }
    // Records of earlier versions have none of these.
    const { pauseReason = null, pausedAt = null, restoreSelection = 'when idle' } = rest
    const { draining = false, drainingAt = null } = rest
    const opened = sealed === undefined ? '{}' : encryptor.open(sealed, optionsContext(rest.id))
    const options = JSON.parse(opened) as ConnectionOptions
    return {
      ...fieldOrder,
      ...rest,
      pauseReason,
      pausedAt,
      draining,
      drainingAt,
      restoreSelection,
      address: { baseUrl, ...credentials, ...options }
    }
  }

  async function refresh (): Promise<void> {
    const records = Object.values(await redis.hgetall(recordsKey)).sort()
    const text = records.join('\n')
    if (text === mirrored) return
    mirrored = text
    servers = records
      .map(record => restore(JSON.parse(record) as StoredServer))
      .sort((one, other) => one.createdAt - other.createdAt || one.alias.localeCompare(other.alias))
    for (const listener of listeners) listener()
  }

  async function announce (server: Server, kind: ServiceEventKind): Promise<void> {
    await redis.publish(keys.channel('servers'), server.id)
    await publish(kind, server)
    await refresh()
  }

  /**
   * Writes a record with its alias in one step, as several processes add servers of the same settings when they start.
   * @param read the record to replace, as it was read, and its server; null for a new server
   * @returns false if it changed or was removed meanwhile
   * @throws ServiceError `server_exists`
   */
  async function write (
    server: Server, read: { readonly text: string, readonly server: Server } | null
  ): Promise<boolean> {
    const outcome = await writeServer(redis, [recordsKey, aliasesKey], [
      server.id, read?.text ?? '', JSON.stringify(store(server)), aliasName(server.alias),
      read === null ? '' : aliasName(read.server.alias)
    ])
    if (outcome !== 'taken') return outcome === 'written'
    throw new ServiceError('server_exists', `There is already a server named ${server.alias}; choose another alias.`,
      { field: 'alias' })
  }

  const registry: ServerRegistry = {
    list: () => servers,
    byId: id => servers.find(server => server.id === id),
    byAlias: alias => servers.find(server => aliasName(server.alias) === aliasName(alias)),
    require (alias, field = 'alias') {
      const server = registry.byAlias(alias)
      if (server !== undefined) return server
      const aliases = servers.map(known => known.alias)
      throw new ServiceError('server_not_found', `There is no server named ${alias}.` +
        (aliases.length === 0 ? ' None is registered yet.' : ` Registered: ${aliases.join(', ')}.`),
      { field, nearest: nearest(alias, aliases, 3) })
    },
    async add ({ alias, address, origin, description = null, enabled = true, jobTimeoutSeconds = null, restoreSelection = 'when idle' }) {
      const id = randomUUID()
      const timestamp = Date.now()
      const server: Server = {
        id,
        alias: alias.trim(),
        address,
        origin,
        description,
        enabled,
        paused: false,
        pauseReason: null,
        pausedAt: null,
        draining: false,
        drainingAt: null,
        jobTimeoutSeconds,
        restoreSelection,
        createdAt: timestamp,
        updatedAt: timestamp
      }
      await write(server, null)
      await announce(server, 'server-added')
      return server
    },
    async update (id, change) {
      const text = await redis.hget(recordsKey, id)
      if (text === null) throw new ServiceError('server_not_found', 'This server was removed meanwhile.')
      const before = restore(JSON.parse(text) as StoredServer)
      const alias = (change.alias ?? before.alias).trim()
      const changed = { ...before, ...change, alias, updatedAt: Date.now() }
      const heldSince = before.paused ? before.pausedAt : changed.updatedAt
      const drainingSince = before.draining ? before.drainingAt : changed.updatedAt
      const after: Server = {
        ...changed,
        pausedAt: changed.paused ? heldSince : null,
        drainingAt: changed.draining ? drainingSince : null
      }
      if (!await write(after, { text, server: before })) return await registry.update(id, change)
      await announce(after, kindOfChange(before, after))
      return after
    },
    async remove (id) {
      const server = registry.byId(id)
      await removeServer(redis, [recordsKey, aliasesKey], [id, server === undefined ? '' : aliasName(server.alias)])
      await redis.publish(keys.channel('servers'), id)
      if (server !== undefined) await publish('server-removed', server)
      await refresh()
    },
    refresh,
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
  return registry
}

/**
 * The fields of every record are in this order, wherever it comes from: V8 compiles the functions that read records
 * again for each other order. Fields of later versions stay, behind these.
 */
const fieldOrder: Readonly<Record<keyof Server, null>> = {
  id: null,
  alias: null,
  address: null,
  description: null,
  enabled: null,
  paused: null,
  pauseReason: null,
  pausedAt: null,
  draining: null,
  drainingAt: null,
  jobTimeoutSeconds: null,
  restoreSelection: null,
  origin: null,
  createdAt: null,
  updatedAt: null
}

function kindOfChange (before: Server, after: Server): ServiceEventKind {
  if (after.draining && !before.draining) return 'server-draining'
  if (before.paused !== after.paused) return after.paused ? 'server-paused' : 'server-resumed'
  return before.draining && !after.draining ? 'server-resumed' : 'server-changed'
}
