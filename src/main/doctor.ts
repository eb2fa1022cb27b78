import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { NamedQueue } from '../../queues/registry.ts'
import { GenerationFailure } from '../a1111/types.ts'
import type { Config } from '../config/settings.ts'
import { messageOf } from '../lib/errors.ts'
import type { Bucket } from '../media/bucket.ts'
import { createKeys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { bucketHome, folderHome, foreignHome, type MediaHome } from '../media/home.ts'
import { checkRedis, type Finding, tryRedis } from '../redis/check.ts'
import { connectRedis } from '../redis/connections.ts'
import { findProgram, redisProgramNames } from '../redis/private/install.ts'
import { findRunningServer } from '../redis/private/server.ts'

/** Difference of two clocks in milliseconds that is worth a warning, and that does harm. */
const clockLimits = { warning: 1000, problem: 30_000 }
/** Bytes of free space below which it warns, and below which images are soon refused. */
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

/** @param free bytes that we can still write */
export function judgeSpace (folder: string, free: number): Finding {
  const topic = 'disk space'
  const message = `${(free / 2 ** 30).toFixed(1)} GiB free for DATA_DIR ${folder}`
  if (free >= spaceLimits.warning) return { topic, level: 'fine', message }
  const level = free >= spaceLimits.problem ? 'warning' : 'problem'
  return { topic, level, message, remedy: 'Make room there, or set DATA_DIR to a larger disk: images and jobs are kept there.' }
}

/** How far the clock of Redis is ahead of ours, in milliseconds; half the round trip is taken off. */
async function measureClock (redis: Redis): Promise<number> {
  const before = Date.now()
  const [seconds, microseconds] = await redis.time()
  const after = Date.now()
  return Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + after) / 2
}

/** Space and rights of a folder, or of the nearest existing one above it. */
async function checkFolder (folder: string): Promise<Finding[]> {
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

/** A Stable Diffusion server as the doctor needs to know it. */
export interface DoctorServer {
  readonly alias: string
  readonly url: string
  /** Whether an operator takes it out. */
  readonly draining?: boolean | undefined
}

export interface DoctorDependencies {
  readonly servers: readonly DoctorServer[]
  /** Resolves with the answering program, for example `A1111 1.10.1`; rejects if it is unusable. */
  probeServer (url: string, alias: string): Promise<string>
  /** None if Redis cannot be reached. */
  readonly queues?: readonly NamedQueue[]
  /** Takes the finished report, without a line break at its end. */
  print (report: string): void
}

const namesCure = /^(certificate_|https_expected|not_https|address_not_allowed|redirected|unauthorized|server_starting)/

type DoctorConfig = Pick<Config, 'REDIS_URL' | 'REDIS_SERVER' | 'DATA_DIR'> & Partial<Config>

/** Time limit for each server and Redis, in milliseconds. */
const patience = 3000

const silent = () => {}
const noLog: Log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent }

/**
 * Checks everything that the service depends on, and names a remedy for each fault.
 * @param format json: one object with `ok` and `findings`
 * @returns the exit code: 1 if anything keeps the service from working, else 0
 */
export async function runDoctor (
  config: DoctorConfig,
  { servers, probeServer, queues = [], print }: DoctorDependencies,
  format: 'text' | 'json'
): Promise<0 | 1> {
  const bucket = await bucketOf(config)
  const home = bucket === null ? folderHome(config.DATA_DIR) : bucketHome(bucket)
  const findings = (await Promise.all([
    examineRedis(config, home),
    checkFolder(config.DATA_DIR),
    bucket === null ? [] : examineBucket(bucket),
    examineServers(servers, probeServer),
    examineQueues(queues)
  ]).finally(async () => { await bucket?.close() })).flat()
  const ok = findings.every(({ level }) => level !== 'problem')
  print(format === 'json' ? JSON.stringify({ ok, findings }, null, 2) : renderFindings(findings))
  return ok ? 0 : 1
}

/** One line a finding, its remedy below. */
export function renderFindings (findings: readonly Finding[]): string {
  const lines = findings.map(({ level, topic, message, remedy }) =>
    `${level.padEnd(8)} ${topic}: ${message}${remedy === undefined ? '' : `\n${' '.repeat(9)}${remedy}`}`)
  const count = (level: Finding['level']) => findings.filter(finding => finding.level === level).length
  return [...lines, '', `problems: ${count('problem')}, warnings: ${count('warning')}`].join('\n')
}

async function bucketOf (config: DoctorConfig): Promise<Bucket | null> {
  const {
    MEDIA_URL = '', S3_ENDPOINT = '', S3_REGION = '', S3_ACCESS_KEY_ID = '', S3_SECRET_ACCESS_KEY = '', S3_PATH_STYLE = 'auto'
  } = config
  if (MEDIA_URL === '') return null
  const { openBucket } = await import('../media/bucket.ts')
  return openBucket({
    MEDIA_URL,
    S3_ENDPOINT,
    S3_REGION,
    S3_ACCESS_KEY_ID,
    S3_SECRET_ACCESS_KEY,
    S3_PATH_STYLE,
    S3_TIMEOUT_SECONDS: patience / 1000
  })
}

/** Writes, reads, lists and deletes an object. */
async function examineBucket (bucket: Bucket): Promise<Finding[]> {
  const topic = 'bucket'
  const { failureSentence, tryBucket } = await import('../media/bucket-check.ts')
  const failure = await tryBucket(bucket)
  if (failure === null) {
    return [{ topic, level: 'fine', message: `objects of ${bucket.shown} can be written, read, listed and deleted` }]
  }
  const remedy = failure.error.remedy ?? 'Check that the service of S3_ENDPOINT runs, and that this machine can reach it.'
  return [{ topic, level: 'problem', message: failureSentence(bucket, failure), remedy }]
}

async function examineRedis (config: DoctorConfig, home: MediaHome): Promise<Finding[]> {
  const url = config.REDIS_URL || await findRunningServer(config.DATA_DIR)
  if (url === undefined) return [examineProgram(config.REDIS_SERVER)]
  try {
    const redis = await connectRedis(url, 'request', noLog, patience)
    try {
      const keys = createKeys(config.REDIS_PREFIX ?? 'sq')
      const trial = await tryRedis(redis, keys)
      const folder = await examineOwnership({ redis, keys, home })
      return [...await checkRedis(redis), ...trial, ...folder, judgeClock(await measureClock(redis))]
    } finally {
      redis.disconnect()
    }
  } catch (error) {
    return [{ topic: 'redis', level: 'problem', message: messageOf(error), remedy: 'Without Redis nothing else works.' }]
  }
}

async function examineOwnership (data: Parameters<typeof foreignHome>[0]): Promise<Finding[]> {
  const foreign = await foreignHome(data).catch(() => null) // its rights have a finding of their own
  if (foreign === null) return []
  const [message = '', ...remedy] = foreign.split(/(?<=there)\. /)
  return [{ topic: 'data directory', level: 'problem', message, remedy: `${remedy.join('. ')}.` }]
}

/** While the service is stopped there is no private Redis to ask, only the program that it would start. */
function examineProgram (asked: string): Finding {
  const topic = 'redis'
  const found = findProgram(asked === '' ? redisProgramNames : [asked])
  if (found !== undefined) return { topic, level: 'fine', message: `a private one will be started from ${found}` }
  return {
    topic,
    level: 'problem',
    message: `${asked === '' ? 'neither redis-server nor valkey-server is' : `${asked} is not`} in PATH`,
    remedy: 'Install redis-server 6.2 or newer, or set REDIS_URL to the address of a Redis.'
  }
}

/** A paused queue of a server is no news: it is paused while its server cannot be used. */
async function examineQueues (queues: readonly NamedQueue[]): Promise<Finding[]> {
  const topic = 'queues'
  if (queues.length === 0) return []
  try {
    const states = await Promise.all(queues.map(async ({ name, of, queue, counts }) => {
      const { failed: _failed, ...open } = await counts()
      const entries = Object.values(open).reduce((sum, count) => sum + count, 0)
      return { name, entries, isPaused: of === 'service' && await queue.isPaused() }
    }))
    const paused = states.filter(({ isPaused }) => isPaused).map(({ name }) => name)
    const message = `entries that wait or run: ${states.map(({ name, entries }) => `${name} ${entries}`).join(', ')}`
    return paused.length === 0
      ? [{ topic, level: 'fine', message }]
      : [{
          topic,
          level: 'warning',
          message: `${paused.join(', ')} ${paused.length === 1 ? 'is' : 'are'} paused; ${message}`,
          remedy: 'Resume them in the dashboard of queues; with DASHBOARD_READ_ONLY=false it has a button for that.'
        }]
  } catch {
    return [] // Redis, which has a finding of its own
  }
}

async function examineServers (
  servers: readonly DoctorServer[], probeServer: DoctorDependencies['probeServer']
): Promise<Finding[]> {
  if (servers.length > 0) return Promise.all(servers.map(server => examineServer(server, probeServer)))
  const remedy = 'Add one with A1111_URL or SERVERS, or in the web UI; until then only the simulator makes images.'
  return [{ topic: 'servers', level: 'warning', message: 'no server is registered', remedy }]
}

async function examineServer (
  { alias, url, draining }: DoctorServer, probeServer: DoctorDependencies['probeServer']
): Promise<Finding> {
  const topic = `server ${alias}`
  const shown = url.replace(/^([^/]*)\/\/.*@/, '$1//')
  const bound = new AbortController()
  const late = sleep(patience, undefined, { signal: bound.signal }).then(() => {
    throw new Error(`no answer within ${patience / 1000} s`)
  })
  try {
    const message = `${await Promise.race([probeServer(url, alias), late])} at ${shown}`
    if (draining !== true) return { topic, level: 'fine', message }
    const remedy = 'Resume it, or remove it once it is drained.'
    return { topic, level: 'warning', message: `${message}; it is draining and begins no jobs`, remedy }
  } catch (error) {
    const message = `${shown} cannot be used: ${messageOf(error)}`
    // Errors of certificates, protocols and settings name their remedy themselves.
    if (error instanceof GenerationFailure && namesCure.test(error.code)) return { topic, level: 'problem', message }
    const remedy = 'Check that it runs with --api (and --listen if it is on another machine) and that the address is right.'
    return { topic, level: 'problem', message, remedy }
  } finally {
    bound.abort()
    late.catch(() => {})
  }
}
