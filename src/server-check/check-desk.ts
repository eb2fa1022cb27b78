import type { ServerCheckView } from '../../schemas/server-check.ts'
import { findCheckpoint } from '../a1111/checkpoint-names.ts'
import { nearest } from '../a1111/nearest.ts'
import { ServiceError } from '../errors.ts'
import { iso } from '../iso.ts'
import type { Server } from '../servers/server.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { CheckStore } from './check-store.ts'
import { reportText } from './report.ts'
import { waitingSteps } from './run-check.ts'

/** Checks as callers ask for them. */
export interface CheckDesk {
  /**
   * @throws ServiceError `server_not_served`, `check_running`, `checkpoint_not_found`, `invalid_field_value`
   */
  ask (server: Server, wanted: WantedCheck): Promise<void>
  view (serverId: string): Promise<ServerCheckView>
  /** False where none is running. */
  cancel (serverId: string): Promise<boolean>
}

export interface WantedCheck {
  readonly id: string
  /** In any spelling that the server's list gives sense to. */
  readonly checkpoint: string | null
  readonly minutes: number | null
}

export interface CheckDeskDependencies {
  readonly checks: CheckStore
  readonly states: ServerStateStore
  /** Whether any worker serves this server now. */
  readonly isServed: (serverId: string) => Promise<boolean>
}

export function createCheckDesk ({ checks, states, isServed }: CheckDeskDependencies): CheckDesk {
  /** Exact title at the server. */
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
