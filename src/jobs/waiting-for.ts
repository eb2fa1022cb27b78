import type { Prediction } from './forecast.ts'

/** The jobs that are expected to begin before a waiting job at the server that is expected to run it. */
export interface Turn {
  readonly ahead: number
  /** Those of them outside the background lane, if the job is in that lane; otherwise 0. */
  readonly yields: number
}

/** @param jobs of a forecast, in the order of their expected begin */
export function turnsOf (
  jobs: ReadonlyMap<string, Pick<Prediction, 'serverId'>>, isInLane: (id: string) => boolean
): Map<string, Turn> {
  const before = new Map<string, { ahead: number, outside: number }>()
  return new Map([...jobs].map(([id, { serverId }]) => {
    const { ahead, outside } = before.get(serverId) ?? { ahead: 0, outside: 0 }
    const isInside = isInLane(id)
    before.set(serverId, { ahead: ahead + 1, outside: isInside ? outside : outside + 1 })
    return [id, { ahead, yields: isInside ? outside : 0 }]
  }))
}

/**
 * What a job waits for that only has to wait for its turn.
 * @param of ` of all servers` if it is so far back that its server is unknown, and all waiting jobs before it count
 */
export function turnText ({ ahead, yields }: Turn, of: '' | ' of all servers' = ''): string {
  const jobs = (count: number) => count === 1 ? 'job' : 'jobs'
  if (yields > 0) return `background: yields to ${yields} other ${jobs(yields)}`
  return ahead === 0 ? 'a server to be free' : `${ahead} ${jobs(ahead)}${of} ahead of it`
}

/** Why a server takes no job now. */
export type ServerCondition = 'open' | 'paused' | 'draining' | 'off' | 'down'

export interface Obstacles {
  /** The servers that have what the job needs. */
  readonly able: ReadonlyArray<{ readonly alias: string, readonly condition: ServerCondition }>
  /** Alias of the server that the job names, null if it was removed, undefined if the job names none. */
  readonly target?: string | null
  /** The checkpoint that it names, if any. */
  readonly checkpoint: string | null
  /** Whether this service serves servers at all now. */
  readonly processes: boolean
}

const conditions: Record<ServerCondition, string> = {
  open: 'is up', paused: 'is paused', draining: 'takes no more jobs', off: 'is switched off', down: 'does not answer'
}

/** Why no time can be given for a job that waits; null if a server can run it. */
export function whyNever ({ able, target, checkpoint, processes }: Obstacles): string | null {
  if (!processes) return 'All queues are paused.'
  if (able.some(({ condition }) => condition === 'open')) return null
  if (target === null) return 'The server that it names was removed.'
  const [first] = able
  if (target !== undefined) {
    return first === undefined
      ? `The server "${target}" lacks what it needs.`
      : `The server "${target}" ${conditions[first.condition]}.`
  }
  const what = checkpoint === null ? 'can run it' : `has "${checkpoint}"`
  if (first === undefined) return `No server ${what}.`
  if (able.every(({ condition }) => condition === 'paused')) return `Every server that ${what} is paused.`
  if (able.every(({ condition }) => condition === 'down')) return `No server that ${what} is up.`
  return `No server that ${what} takes jobs now.`
}
