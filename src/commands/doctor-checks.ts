import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Redis } from 'ioredis'
import type { Finding } from '../redis/check.ts'

/** Milliseconds by which two clocks may differ before it is worth a word, and before it does harm. */
const clockLimits = { warning: 1000, problem: 30_000 }
/** Bytes of free space below which it is worth a word, and below which images are soon refused. */
const spaceLimits = { warning: 2 * 2 ** 30, problem: 200 * 2 ** 20 }

/** @param difference milliseconds by which the clock of Redis is ahead of ours */
export function judgeClock (difference: number): Finding {
  const topic = 'clock'
  const apart = Math.abs(difference)
  const message = `the clock of Redis is ${(apart / 1000).toFixed(1)} s ${difference < 0 ? 'behind' : 'ahead of'} this one`
  if (apart < clockLimits.warning) return { topic, level: 'fine', message }
  const level = apart < clockLimits.problem ? 'warning' : 'problem'
  return { topic, level, message, remedy: 'Set both machines by NTP: delays, leases and expiry are computed from both clocks.' }
}

/** @param free bytes that we may still write */
export function judgeSpace (folder: string, free: number): Finding {
  const topic = 'disk space'
  const message = `${(free / 2 ** 30).toFixed(1)} GiB free for DATA_DIR ${folder}`
  if (free >= spaceLimits.warning) return { topic, level: 'fine', message }
  const level = free >= spaceLimits.problem ? 'warning' : 'problem'
  return { topic, level, message, remedy: 'Make room there, or set DATA_DIR to a larger disk: images and jobs are kept there.' }
}

/** How far the clock of Redis is ahead of ours, in milliseconds; half the round trip is taken off. */
export async function measureClock (redis: Redis): Promise<number> {
  const before = Date.now()
  const [seconds, microseconds] = await redis.time()
  const after = Date.now()
  return Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + after) / 2
}

/** Space and rights of a folder, or of the nearest one above it that exists. */
export async function checkFolder (folder: string): Promise<Finding[]> {
  const path = await nearestFolder(resolve(folder))
  const { bavail, bsize } = await statfs(path)
  const writable = await access(path, constants.W_OK).then(() => true, () => false)
  const rights: Finding = writable
    ? { topic: 'data directory', level: 'fine', message: `${path} can be written` }
    : {
        topic: 'data directory',
        level: 'problem',
        message: `${path} cannot be written`,
        remedy: 'Give the user of StableQueue the right to write there, or set DATA_DIR to another folder.'
      }
  return [judgeSpace(folder, bavail * bsize), rights]
}

async function nearestFolder (path: string): Promise<string> {
  const exists = await access(path).then(() => true, () => false)
  return exists || path === dirname(path) ? path : nearestFolder(dirname(path))
}
