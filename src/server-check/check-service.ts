import type { Redis } from 'ioredis'
import type { ServerCheckStep, ServerCheckView } from '../../schemas/server-check.ts'
import { findCheckpoint, nearest } from '../a1111/names.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { iso } from '../lib/text.ts'
import { loadScript } from '../redis/scripts.ts'
import type { Server } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { type CheckReport, type CheckOptions, reportText } from './report.ts'
import { waitingSteps } from './run-check.ts'
import type { UndoRecord } from './undo.ts'

/** A requested check, until it has finished. */
export interface StoredCheck {
  readonly id: string
  readonly wishes: CheckOptions
  readonly state: 'asked' | 'waiting' | 'running' | 'putting_back'
  /** Milliseconds since the epoch. */
  readonly askedAt: number
  readonly steps: readonly ServerCheckStep[]
}

/** The changes to undo, and the address: another address means another server. */
export interface StoredUndo extends UndoRecord {
  readonly baseUrl: string
}

/**
 * The checks of each server, which every process can request and read. Methods with a fence are for the lease holder.
 */
export interface CheckStore {
  /** Null if it was recorded; otherwise the check that is not over yet. */
  ask (serverId: string, check: StoredCheck): Promise<StoredCheck | null>
  present (serverId: string): Promise<StoredCheck | null>
  presentMany (serverIds: readonly string[]): Promise<Array<StoredCheck | null>>
  lastReport (serverId: string): Promise<CheckReport | null>
  cancel (serverId: string, checkId: string): Promise<void>
  isCancelled (serverId: string, checkId: string): Promise<boolean>
  /** False if this fence is not the present one, or the check is over. */
  write (serverId: string, check: StoredCheck, fence: number): Promise<boolean>
  undo (serverId: string): Promise<StoredUndo | null>
  /** Null deletes it. False if this fence is not the present one. */
  writeUndo (serverId: string, undo: StoredUndo | null, fence: number): Promise<boolean>
  /** The check is over; its report replaces it. */
  end (serverId: string, report: CheckReport, fence: number): Promise<boolean>
  forget (serverId: string): Promise<void>
}

/** A check that no worker starts is deleted after this time, in milliseconds. */
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

/** Checks as clients request them. */
export interface CheckService {
  /**
   * @throws ServiceError `server_not_served`, `check_running`, `checkpoint_not_found`, `invalid_field_value`
   */
  ask (server: Server, wanted: WantedCheck): Promise<void>
  view (serverId: string): Promise<ServerCheckView>
  /** False if none is running. */
  cancel (serverId: string): Promise<boolean>
}

export interface WantedCheck {
  readonly id: string
  /** In any spelling that the server's list resolves. */
  readonly checkpoint: string | null
  readonly minutes: number | null
}

export interface CheckServiceDependencies {
  readonly checks: CheckStore
  readonly states: ServerStateStore
  /** Whether any worker serves this server now. */
  readonly isServed: (serverId: string) => Promise<boolean>
}

export function createCheckService ({ checks, states, isServed }: CheckServiceDependencies): CheckService {
  /** The exact title at the server. */
  async function titleOf (server: Server, wanted: string): Promise<string> {
    const inventory = await states.inventory(server.id)
    const checkpoints = inventory?.checkpoints ?? []
    const found = findCheckpoint(wanted, { checkpoints })
    if (found === null) {
      throw new ServiceError('checkpoint_not_found', `${server.alias} has no checkpoint "${wanted}".`,
        { field: 'checkpoint', nearest: nearest(wanted, checkpoints.map(({ title }) => title), 3) })
    }
    const traits = await states.traits(server.id)
    if (found.title === traits?.loadedCheckpoint) {
      throw new ServiceError('invalid_field_value', 'checkpoint must name another one than the selected checkpoint, ' +
        'since it is to show whether that stays selected.', { field: 'checkpoint' })
    }
    return found.title
  }

  return {
    async ask (server, { id, checkpoint, minutes }) {
      if (!server.enabled) {
        throw new ServiceError('server_not_served', `${server.alias} is disabled; enable it to check it.`)
      }
      const title = checkpoint === null ? null : await titleOf(server, checkpoint)
      if (!await isServed(server.id)) {
        throw new ServiceError('server_not_served', `No worker serves ${server.alias} now. Checks go through the worker: ` +
          'start one with `stablequeue worker`, or `stablequeue start` for everything.')
      }
      const running = await checks.ask(server.id, {
        id, wishes: { checkpoint: title, minutes }, state: 'asked', askedAt: Date.now(), steps: waitingSteps()
      })
      if (running !== null) {
        throw new ServiceError('check_running', `A check of ${server.alias} is running already; GET shows how far it is.`,
          { check: running.id })
      }
    },
    async view (serverId) {
      const [present, report] = await Promise.all([checks.present(serverId), checks.lastReport(serverId)])
      const ended = report === null
        ? null
        : { id: report.id, state: 'ended' as const, asked_at: report.started_at, steps: report.steps }
      return {
        success: true,
        check: present === null
          ? ended
          : { id: present.id, state: present.state, asked_at: iso(present.askedAt), steps: [...present.steps] },
        report,
        text: report === null ? null : reportText(report)
      }
    },
    async cancel (serverId) {
      const present = await checks.present(serverId)
      if (present === null) return false
      await checks.cancel(serverId, present.id)
      return true
    }
  }
}
