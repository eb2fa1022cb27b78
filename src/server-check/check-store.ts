import type { Redis } from 'ioredis'
import type { ServerCheckStep } from '../../schemas/server-check.ts'
import type { Keys } from '../redis/keys.ts'
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

// KEYS: check. ARGV: the check, its lifetime, channel, server.
const ask = /* lua */ `
local before = redis.call('GET', KEYS[1])
if before then return before end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return false
`

/** KEYS[1] is the counter of fences, ARGV[1] our fence. A Redis that lost its last moments may be behind. */
const fenced = /* lua */ `
if tonumber(redis.call('GET', KEYS[1]) or 0) > tonumber(ARGV[1]) then return 0 end
`
const isPresent = /* lua */ `
local before = redis.call('GET', KEYS[2])
if not before or cjson.decode(before).id ~= ARGV[2] then return 0 end
`

// KEYS: fence, check. ARGV: fence, id of the check, the check.
const write = fenced + isPresent + /* lua */ `
redis.call('SET', KEYS[2], ARGV[3])
return 1
`
// KEYS: fence, undo. ARGV: fence, the record or ''.
const writeUndo = fenced + /* lua */ `
if ARGV[2] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[2]) end
return 1
`
// KEYS: fence, check, report, cancel. ARGV: fence, id of the check, the report. The report may be a later one of a
// check that is over already.
const end = fenced + /* lua */ `
local before = redis.call('GET', KEYS[2])
if before and cjson.decode(before).id == ARGV[2] then redis.call('DEL', KEYS[2], KEYS[4]) end
redis.call('SET', KEYS[3], ARGV[3])
return 1
`

export function createCheckStore (redis: Redis, keys: Keys): CheckStore {
  const keyOf = (serverId: string, part: 'present' | 'report' | 'cancel' | 'undo') =>
    keys.key('server', serverId, 'check', part)
  const fenceKey = (serverId: string) => keys.key('lease', serverId, 'fence')
  const parse = <Value>(text: string | null | undefined) => text ? JSON.parse(text) as Value : null

  return {
    async ask (serverId, check) {
      const before = await redis.eval(ask, 1, keyOf(serverId, 'present'),
        JSON.stringify(check), askedFor, keys.channel('checks'), serverId)
      return parse<StoredCheck>(before as string | null)
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
      return await redis.eval(write, 2, fenceKey(serverId), keyOf(serverId, 'present'),
        fence, check.id, JSON.stringify(check)) === 1
    },
    async undo (serverId) {
      return parse<StoredUndo>(await redis.get(keyOf(serverId, 'undo')))
    },
    async writeUndo (serverId, undo, fence) {
      return await redis.eval(writeUndo, 2, fenceKey(serverId), keyOf(serverId, 'undo'),
        fence, undo === null ? '' : JSON.stringify(undo)) === 1
    },
    async end (serverId, report, fence) {
      return await redis.eval(end, 4, fenceKey(serverId), keyOf(serverId, 'present'), keyOf(serverId, 'report'),
        keyOf(serverId, 'cancel'), fence, report.id, JSON.stringify(report)) === 1
    },
    async forget (serverId) {
      await redis.del(...(['present', 'report', 'cancel', 'undo'] as const).map(part => keyOf(serverId, part)))
    }
  }
}
