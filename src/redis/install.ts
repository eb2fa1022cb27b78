import { messageOf } from '../errors.ts'
import { findProgram, installSystemPackage } from './system-package.ts'

/** What Redis is called where it is installed, first the one that is preferred. */
export const redisProgramNames: readonly string[] = ['redis-server', 'valkey-server']

/**
 * The program to start as private Redis: the one asked for, the one in PATH, or one that is installed now.
 * @param asked path or name from the setting REDIS_SERVER; undefined or empty to look for one
 * @returns an absolute path
 * @throws Error with one sentence that says what to install or to set
 */
export async function provideRedisProgram (
  asked: string | undefined, say: (sentence: string) => void
): Promise<string> {
  if (asked) {
    const found = findProgram([asked])
    if (found === undefined) throw new Error(`REDIS_SERVER is ${asked}, but there is no such program.`)
    return found
  }
  const found = findProgram(redisProgramNames)
  if (found !== undefined) return found
  try {
    await installSystemPackage({ apt: 'redis-server', brew: 'redis' }, say)
  } catch (error) {
    throw new Error(`${needed} (${messageOf(error)})`, { cause: error })
  }
  const installed = findProgram(redisProgramNames)
  if (installed === undefined) throw new Error(needed)
  return installed
}

const needed = 'StableQueue needs Redis: install redis-server (6.2 or newer) or valkey-server, ' +
  'or set REDIS_URL to the address of a Redis.'
