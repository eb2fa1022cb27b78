import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** Lets one at a time change the files beside models in a folder, over all processes of the service. */
export interface FolderTurns {
  /**
   * Does the work once it is alone in these folders.
   * @throws Error where others do not come to an end
   */
  take<Outcome> (folders: readonly string[], work: () => Promise<Outcome>): Promise<Outcome>
}

/** How long a process that died keeps others waiting; renewed while work goes on. In milliseconds. */
const lifetimeMs = 10_000
const renewalMs = 2500
/** Before another process's end is looked for again, in milliseconds. */
const pauseMs = 15
const patienceMs = 60_000

const renewTurn = loadScript<[turn: string], [token: string, lifetimeMs: number], number | null>(
  new URL('scripts/renew-turn.lua', import.meta.url))
const endTurn = loadScript<[turn: string], [token: string], number | null>(
  new URL('scripts/end-turn.lua', import.meta.url))

export function createFolderTurns (redis: Redis, keys: Keys): FolderTurns {
  /** What is last in line of this process, by folder: it asks Redis for one of its own at a time. */
  const lines = new Map<string, Promise<unknown>>()

  async function alone<Outcome> (folder: string, work: () => Promise<Outcome>): Promise<Outcome> {
    const key = keys.key('model-folder-turn', createHash('sha1').update(folder).digest('hex'))
    const token = randomUUID()
    const until = performance.now() + patienceMs
    while (await redis.set(key, token, 'PX', lifetimeMs, 'NX') !== 'OK') {
      if (performance.now() > until) throw new Error('another process keeps writing in the folder')
      await delay(pauseMs)
    }
    const renewal = setInterval(() => {
      // lost to another: whoever writes looks right before whether the file is still as it was read
      renewTurn(redis, [key], [token, lifetimeMs]).catch(() => {})
    }, renewalMs)
    try {
      return await work()
    } finally {
      clearInterval(renewal)
      // it runs out by itself
      await endTurn(redis, [key], [token]).catch(() => {})
    }
  }

  async function inLine<Outcome> (folder: string, work: () => Promise<Outcome>): Promise<Outcome> {
    const before = lines.get(folder) ?? Promise.resolve()
    const outcome = before.then(async () => await alone(folder, work))
    const ended = outcome.catch(() => {})
    lines.set(folder, ended)
    try {
      return await outcome
    } finally {
      if (lines.get(folder) === ended) lines.delete(folder)
    }
  }

  return {
    async take (folders, work) {
      // in one order everywhere, so that no two wait for each other
      const sorted = [...new Set(folders)].sort()
      const nested = sorted.reduceRight((next, folder) => async () => await inLine(folder, next), work)
      return await nested()
    }
  }
}
