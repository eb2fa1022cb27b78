import type { Redis } from 'ioredis'
import { findCheckpoint } from '../a1111/names.ts'
import { isOverrideAllowed } from '../a1111/override-settings.ts'
import type { Checkpoint } from '../a1111/types.ts'
import { PythonError } from '../fastapi/errors.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { type JsonObject, textOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { withoutSecrets } from './lists.ts'
import type { UpstreamClients } from './upstream-clients.ts'

/** A client's own values of a server's settings, by A1111's names; the checkpoint by its title. */
export type OwnOptions = Readonly<Record<string, unknown>>

/** Changes of POST /options: the client's own defaults, never a server. */
export interface OwnOptionsStore {
  read (client: string): Promise<OwnOptions>
  /** A value of undefined returns to the server's setting. */
  write (client: string, changes: Readonly<Record<string, unknown>>): Promise<void>
}

export function createOwnOptions (redis: Redis, keys: Keys): OwnOptionsStore {
  const optionsKey = (client: string) => keys.key('drop-in', 'options', client)
  return {
    async read (client) {
      const stored = await redis.hgetall(optionsKey(client))
      return Object.fromEntries(Object.entries(stored).map(([name, text]) => [name, parseJsonText(text) as unknown]))
    },
    async write (client, changes) {
      const transaction = redis.multi()
      for (const [name, value] of Object.entries(changes)) {
        if (value === undefined) transaction.hdel(optionsKey(client), name)
        else transaction.hset(optionsKey(client), name, stringifyJson(value))
      }
      await transaction.exec()
    }
  }
}

/** GET and POST /options for one client. */
export interface OptionsService {
  /** The server's options overridden by the client's own. */
  show (client: string, target: string): Promise<Record<string, unknown>>
  /**
   * Stores the differences from the options that the client has read, as far as a job can use them; the rest has no
   * effect. Clients send the whole object back with one field changed.
   * @throws PythonError as A1111: RuntimeError for an unknown checkpoint, KeyError for an unknown option
   */
  change (client: string, target: string, wanted: JsonObject): Promise<void>
}

export interface OptionsServiceDependencies {
  readonly upstream: UpstreamClients
  readonly own: OwnOptionsStore
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

/** The loaded file; A1111 keeps it among the options although no client sets it. */
const loadedHash = 'sd_checkpoint_hash'
const checkpointName = 'sd_model_checkpoint'

export function createOptionsService ({ upstream, own, registry, states }: OptionsServiceDependencies): OptionsService {
  async function checkpointNamed (name: string): Promise<Checkpoint | null> {
    for (const { id, enabled } of registry.list()) {
      const inventory = enabled ? await states.inventory(id) : null
      const found = inventory === null ? null : findCheckpoint(name, inventory)
      if (found !== null) return found
    }
    return null
  }

  async function show (client: string, target: string): Promise<Record<string, unknown>> {
    const [server, mine] = await Promise.all([upstream.options(target), own.read(client)])
    const isHashUnknown = server[loadedHash] === ''
    const title = textOf(mine.sd_model_checkpoint) ?? (isHashUnknown ? textOf(server.sd_model_checkpoint) : null)
    const hash = title === null ? null : (await checkpointNamed(title))?.sha256 ?? null
    return { ...withoutSecrets(server), ...mine, ...(hash === null ? {} : { [loadedHash]: hash }) }
  }

  return {
    show,
    async change (client, target, wanted) {
      const [server, shown] = await Promise.all([upstream.options(target), show(client, target)])
      const changes: Record<string, unknown> = {}
      const isEcho = Object.keys(wanted).length > Object.keys(shown).length / 2
      for (const [name, value] of Object.entries(wanted)) {
        // A checkpoint that is sent alone is intended, also if it is the selected one: that can change.
        const isMeant = name === checkpointName && !isEcho
        if (name === loadedHash || (!isMeant && same(value, shown[name]))) continue
        if (name === checkpointName) {
          changes[name] = value === null ? undefined : await titleOf(value)
        } else if (isOverrideAllowed(name)) {
          changes[name] = value === null || same(value, server[name]) ? undefined : value
        } else if (Object.keys(server).length > 0 && !Object.hasOwn(server, name)) {
          throw new PythonError('KeyError', `'${name}'`)
        }
      }
      if (Object.keys(changes).length > 0) await own.write(client, changes)
    }
  }

  async function titleOf (value: unknown): Promise<string> {
    const name = typeof value === 'string' ? value : ''
    const found = await checkpointNamed(name)
    if (found === null) throw new PythonError('RuntimeError', `model '${name.slice(0, 500)}' not found`)
    return found.title
  }
}

function same (one: unknown, other: unknown): boolean {
  return stringifyJson(one) === stringifyJson(other)
}
