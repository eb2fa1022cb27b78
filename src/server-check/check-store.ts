import type { Redis } from 'ioredis'
import type { ServerCheckStep } from '../../schemas/server-check.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { CheckWishes } from './facts.ts'
import type { CheckReport } from './report.ts'
import type { UndoRecord } from './undo.ts'

/** A check that was asked for, until it has ended. */
export interface StoredCheck {
  readonly id: string
  readonly wishes: CheckWishes
  readonly state: 'asked' | 'waiting' | 'running' | 'putting_back'
  /** Milliseconds since the epoch. */
  readonly askedAt: number
  readonly steps: readonly ServerCheckStep[]
}

/** What must be put back, and at which address: elsewhere, there is another server. */
export interface StoredUndo extends UndoRecord {
  readonly baseUrl: string
}

/** The checks of each server, for every process to ask for and to read. Those with a fence are for the lease holder. */
export interface CheckStore {
  /** Null where it was taken note of, else the one that is not over yet. */
  ask (serverId: string, check: StoredCheck): Promise<StoredCheck | null>
  present (serverId: string): Promise<StoredCheck | null>
  presentMany (serverIds: readonly string[]): Promise<Array<StoredCheck | null>>
  lastReport (serverId: string): Promise<CheckReport | null>
  cancel (serverId: string, checkId: string): Promise<void>
  isCancelled (serverId: string, checkId: string): Promise<boolean>
  /** False where this fence is not the present one, or the check is over. */
  write (serverId: string, check: StoredCheck, fence: number): Promise<boolean>
  undo (serverId: string): Promise<StoredUndo | null>
  /** Null forgets it. False where this fence is not the present one. */
  writeUndo (serverId: string, undo: StoredUndo | null, fence: number): Promise<boolean>
  /** The check is over; the report takes its place. */
  end (serverId: string, report: CheckReport, fence: number): Promise<boolean>
  forget (serverId: string): Promise<void>
}

/** A check that nobody takes up is forgotten after this, in milliseconds. */
const askedFor = 30_000

const script = (name: string) => new URL(`scripts/${name}.lua`, import.meta.url)
const askCheck = loadScript<[check: string], [text: string, lifetimeMs: number, channel: string, serverId: string],
  string | null>(script('ask-check'))
const writeCheck = loadScript<[fences: string, check: string], [fence: number, id: string, text: string], 0 | 1>(
  script('write-check'))
const writeUndo = loadScript<[fences: string, undo: string], [fence: number, text: string], 0 | 1>(script('write-undo'))
const endCheck = loadScript<[fences: string, check: string, report: string, cancel: string],
  [fence: number, id: string, report: string], 0 | 1>(script('end-check'))

export function createCheckStore (redis: Redis, keys: Keys): CheckStore {
  const keyOf = (serverId: string, part: 'present' | 'report' | 'cancel' | 'undo') =>
    keys.key('server', serverId, 'check', part)
  const fenceKey = (serverId: string) => keys.key('lease', serverId, 'fence')
  const parse = <Value>(text: string | null | undefined) => text ? JSON.parse(text) as Value : null

  return {
    async ask (serverId, check) {
      return parse<StoredCheck>(await askCheck(redis, [keyOf(serverId, 'present')],
        [JSON.stringify(check), askedFor, keys.channel('checks'), serverId]))
    },
    async present (serverId) {
      return parse<StoredCheck>(await redis.get(keyOf(serverId, 'present')))
    },
    async presentMany (serverIds) {
      if (serverIds.length === 0) return []
      return (await redis.mget(...serverIds.map(id => keyOf(id, 'present')))).map(text => parse<StoredCheck>(text))
    },
    async lastReport (serverId) {
      return parse<CheckReport>(await redis.get(keyOf(serverId, 'report')))
    },
    async cancel (serverId, checkId) {
      await redis.multi().set(keyOf(serverId, 'cancel'), checkId, 'EX', 86_400)
        .publish(keys.channel('checks'), serverId).exec()
    },
    async isCancelled (serverId, checkId) {
      return await redis.get(keyOf(serverId, 'cancel')) === checkId
    },
    async write (serverId, check, fence) {
      return await writeCheck(redis, [fenceKey(serverId), keyOf(serverId, 'present')],
        [fence, check.id, JSON.stringify(check)]) === 1
    },
    async undo (serverId) {
      return parse<StoredUndo>(await redis.get(keyOf(serverId, 'undo')))
    },
    async writeUndo (serverId, undo, fence) {
      return await writeUndo(redis, [fenceKey(serverId), keyOf(serverId, 'undo')],
        [fence, undo === null ? '' : JSON.stringify(undo)]) === 1
    },
    async end (serverId, report, fence) {
      return await endCheck(redis,
        [fenceKey(serverId), keyOf(serverId, 'present'), keyOf(serverId, 'report'), keyOf(serverId, 'cancel')],
        [fence, report.id, JSON.stringify(report)]) === 1
    },
    async forget (serverId) {
      await redis.del(...(['present', 'report', 'cancel', 'undo'] as const).map(part => keyOf(serverId, part)))
    }
  }
}
