import type { Redis } from 'ioredis'
import type { RuntimeSettings } from '../src/config/runtime-settings.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { ServerRegistry } from '../src/servers/registry.ts'
import { sameAddress, type Server } from '../src/servers/server.ts'
import { attend, type Attendance, type AttendanceDependencies } from './attendance.ts'

/** All servers as one process cares for them. */
export interface Workforce {
  /** Whether this process takes jobs of the server. */
  serves (serverId: string): boolean
  /** Stops what runs, puts it back in line and lets others take over. */
  close (deadlineMs: number): Promise<void>
}

export interface WorkforceDependencies extends Omit<AttendanceDependencies, 'processes'> {
  readonly registry: ServerRegistry
  readonly runtime: RuntimeSettings
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
}

/** Notices can get lost, so servers and settings are read anew now and then all the same, in milliseconds. */
const lookInterval = 10_000

/** Attends every enabled server, and follows the registry while it runs. */
export async function startWorkforce (dependencies: WorkforceDependencies): Promise<Workforce> {
  const { registry, runtime, connection, subscriber, keys, storage, log } = dependencies
  const serving = { ...dependencies, processes: () => runtime.current().queueProcessing }
  const attended = new Map<string, { server: Server, attendance: Attendance }>()
  /** By server. */
  const leavings = new Map<string, Promise<void>>()

  function leave (serverId: string, deadlineMs: number): Promise<void> {
    const found = attended.get(serverId)
    if (found === undefined) return Promise.resolve()
    attended.delete(serverId)
    // One that was left before it began has still waited for the one before.
    const left = [leavings.get(serverId), found.attendance.close(deadlineMs)]
    const leaving = Promise.all(left).then(() => {}).finally(() => {
      if (leavings.get(serverId) === leaving) leavings.delete(serverId)
    })
    leavings.set(serverId, leaving)
    return leaving
  }

  function settle (leaving: Promise<void>): void {
    leaving.catch(error => { log.error({ err: error }, 'could not leave a server in order') })
  }

  function follow (): void {
    const wanted = new Map(registry.list().filter(({ enabled }) => enabled).map(server => [server.id, server]))
    for (const [serverId, { server: before }] of attended) {
      const now = wanted.get(serverId)
      if (now === undefined || !sameAddress(before.address, now.address)) settle(leave(serverId, 5000))
    }
    for (const [serverId, server] of wanted) {
      const found = attended.get(serverId)
      if (found === undefined) {
        const attendance = attend(
          () => attended.get(serverId)?.server ?? server, serving, leavings.get(serverId) ?? Promise.resolve())
        attended.set(serverId, { server, attendance })
      } else {
        found.server = server
        found.attendance.holdOrResume()
      }
    }
  }

  function holdOrResume (): void {
    for (const { attendance } of attended.values()) attendance.holdOrResume()
  }

  function onMessage (channel: string, message: string): void {
    if (channel === keys.channel('cancel')) {
      for (const { attendance } of attended.values()) attendance.cancel(message)
    } else if (channel === keys.channel('turns')) {
      attended.get(message)?.attendance.seeToTurns()
    } else if (channel === keys.channel('checks')) {
      attended.get(message)?.attendance.seeToChecks()
    } else if (channel === keys.channel('servers')) {
      registry.refresh()
        .then(() => { attended.get(message)?.attendance.checkNow() })
        .catch(error => { log.warn({ err: error }, 'could not read the servers') })
    } else if (channel === keys.channel('settings')) {
      runtime.refresh().catch(error => { log.warn({ err: error }, 'could not read the settings') })
    }
  }

  /** One listener for all: a connection that every server added one to would warn of a leak at eleven. */
  function onReady (): void {
    for (const { attendance } of attended.values()) attendance.reconnected()
  }

  connection.on('ready', onReady)
  subscriber.on('message', onMessage)
  await subscriber.subscribe(...(['cancel', 'checks', 'servers', 'settings', 'turns'] as const).map(keys.channel))
  const forget = [registry.onChange(follow), runtime.onChange(holdOrResume), storage.onChange(holdOrResume)]
  const timer = setInterval(() => {
    Promise.all([registry.refresh(), runtime.refresh()])
      .catch(error => { log.debug({ err: error }, 'could not read servers and settings') })
  }, lookInterval)
  await Promise.all([registry.refresh(), runtime.refresh()])
  follow()

  return {
    serves: serverId => attended.get(serverId)?.attendance.serving() ?? false,
    async close (deadlineMs) {
      clearInterval(timer)
      for (const stop of forget) stop()
      connection.off('ready', onReady)
      subscriber.off('message', onMessage)
      for (const serverId of [...attended.keys()]) settle(leave(serverId, deadlineMs))
      await Promise.all(leavings.values())
    }
  }
}
