import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'

/** Settings that operators change while the service runs. */
export interface RuntimeValues {
  /** Whether servers take jobs. Off, running generations finish and no further one begins. */
  readonly queueProcessing: boolean
  /** Days for which finished jobs are kept; 0 keeps them. */
  readonly retentionDays: number
  /** How many finished jobs are kept, the newest first; 0 for no limit. */
  readonly retentionJobs: number
}

export type RuntimeName = keyof RuntimeValues

/** A change; null restores the value of the environment or the default. */
export type RuntimeChange = { readonly [Name in RuntimeName]?: RuntimeValues[Name] | null }

export interface RuntimeState {
  readonly values: RuntimeValues
  /** The values that were changed here and differ from the start of the process. */
  readonly changed: ReadonlySet<RuntimeName>
  /** Milliseconds since the epoch; null if nothing was ever changed. */
  readonly updatedAt: number | null
  /** Values that earlier versions kept for clients. */
  readonly own: Readonly<Record<string, unknown>>
}

/** Kept in Redis over the environment, and mirrored in the memory of each process. */
export interface RuntimeSettings {
  /** As last received, from memory. */
  current (): RuntimeValues
  /** The present values. */
  read (): Promise<RuntimeState>
  /** Changes some values, for every process and over restarts. */
  change (change: RuntimeChange): Promise<RuntimeState>
  /** Removes a value that an earlier version kept for a client; false if there is none of this name. */
  forgetOwn (name: string): Promise<boolean>
  /** Reloads everything; calls `onChange` listeners if a value changed. */
  refresh (): Promise<void>
  /** Calls back after each change of a value, in any process. Returns a function that stops it. */
  onChange (listener: () => void): () => void
}

export interface RuntimeSettingsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  /** Publishes that all queues were paused or resumed. */
  readonly publish: (kind: 'queue-paused' | 'queue-resumed') => Promise<void>
  /** The values without any change. */
  readonly initial: RuntimeValues
}

const updatedField = '@updated'

/** A notice on the channel `settings` announces a change; the owner of the subscriber calls `refresh` on it. */
export function createRuntimeSettings (
  { redis, keys, publish, initial }: RuntimeSettingsDependencies
): RuntimeSettings {
  const recordKey = keys.key('runtime-settings')
  const ownKey = keys.key('runtime-settings', 'own')
  const names = Object.keys(initial) as RuntimeName[]
  const listeners = new Set<() => void>()
  let current = initial

  async function read (): Promise<RuntimeState> {
    const [record, own] = await Promise.all([redis.hgetall(recordKey), redis.hgetall(ownKey)])
    const changed = new Set(names.filter(name => record[name] !== undefined))
    const stored = Object.fromEntries([...changed].map(name => [name, JSON.parse(record[name] ?? 'null') as unknown]))
    return {
      values: { ...initial, ...stored },
      changed,
      updatedAt: record[updatedField] === undefined ? null : Number(record[updatedField]),
      own: Object.fromEntries(Object.entries(own).map(([name, text]) => [name, JSON.parse(text) as unknown]))
    }
  }

  function mirror (values: RuntimeValues): void {
    const differs = names.some(name => values[name] !== current[name])
    current = values
    if (differs) for (const listener of listeners) listener()
  }

  return {
    current: () => current,
    read,
    async change (change) {
      const before = (await read()).values.queueProcessing
      const transaction = redis.multi()
      for (const name of names) {
        const value = change[name]
        if (value === null) transaction.hdel(recordKey, name)
        else if (value !== undefined) transaction.hset(recordKey, name, JSON.stringify(value))
      }
      await transaction.hset(recordKey, updatedField, Date.now()).publish(keys.channel('settings'), 'changed').exec()
      const state = await read()
      const { queueProcessing: now } = state.values
      if (now !== before) await publish(now ? 'queue-resumed' : 'queue-paused')
      mirror(state.values)
      return state
    },
    forgetOwn: async name => await redis.hdel(ownKey, name) === 1,
    async refresh () { mirror((await read()).values) },
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}
