import { Command, type Redis } from 'ioredis'
import { RedisSilence } from './errors.ts'

/** Sent by ioredis itself while it opens a connection. */
const handshake = new Set(['auth', 'hello', 'info', 'client', 'select', 'readonly'])

/**
 * Gives every command of a connection a time limit. As long as Redis leaves one without an answer, further ones fail at
 * once instead of waiting as long each, and are not sent; a `PING` finds out when it answers again. A command that
 * failed is never sent again, but one that was sent may still be carried out when Redis goes on.
 *
 * @param limit in milliseconds
 */
export function limitCommands (redis: Redis, limit: number): void {
  const send = redis.sendCommand.bind(redis) as (command: Command, ...more: unknown[]) => Promise<unknown>
  const given = new WeakSet<Command>()
  const failed = new WeakSet<Command>()
  let silent = false

  function fallSilent (): void {
    if (silent) return
    silent = true
    probe()
  }

  /** Until Redis answers, or the connection ends: ioredis opens another one then. */
  function probe (): void {
    if (!silent || redis.status !== 'ready') return
    const ping = new Command('ping')
    ping.setTimeout(limit)
    given.add(ping)
    ping.promise.then(() => { silent = false }, probe)
    send(ping).catch(() => {})
  }

  redis.on('ready', () => { silent = false })
  redis.on('error', error => { if (isUnreachable(error)) silent = false })
  redis.sendCommand = ((command: Command, ...more: unknown[]) => {
    // ioredis sends what was not answered again over the next connection, also what nobody waits for any more.
    if (failed.has(command)) return command.promise
    if (silent && !(redis.status === 'connect' && handshake.has(command.name))) {
      command.reject(new RedisSilence('Redis does not answer'))
      return command.promise
    }
    if (!given.has(command)) {
      given.add(command)
      command.setTimeout(limit)
      command.promise.catch((error: unknown) => {
        if (!(error instanceof Error) || error.message !== 'Command timed out') return
        failed.add(command)
        fallSilent()
      })
    }
    return send(command, ...more)
  }) as typeof redis.sendCommand
}

/** Nothing is there that could be silent. */
function isUnreachable (error: unknown): boolean {
  return ['ECONNREFUSED', 'ENOENT', 'ENOTFOUND', 'EHOSTUNREACH'].includes(String((error as { code?: unknown }).code))
}
