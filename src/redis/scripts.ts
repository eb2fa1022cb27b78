import type { Redis } from 'ioredis'

/** Whether Redis did not know a script that was called by its name alone. */
export function isMissingScript (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/**
 * Makes ioredis send the text of every script once more. It notes for each connection which scripts it has sent, also
 * within a transaction that Redis then refused as a whole, and within one it does not notice that Redis lacks a script.
 */
export function sendScriptsAgain (redis: Redis): void {
  for (const [name, script] of Object.entries<Partial<Script>>(redis.scriptsSet)) {
    const { lua, numberOfKeys } = script
    if (lua !== undefined) redis.defineCommand(name, { lua, ...(numberOfKeys == null ? {} : { numberOfKeys }) })
  }
}

/** What ioredis keeps of a script. */
interface Script {
  readonly lua: string
  readonly numberOfKeys: number | null
}
