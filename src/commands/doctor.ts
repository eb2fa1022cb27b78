import { setTimeout as sleep } from 'node:timers/promises'
import { GenerationFailure } from '../a1111/types.ts'
import type { Config } from '../config/settings.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { checkRedis, type Finding } from '../redis/check.ts'
import { connectRedis } from '../redis/connections.ts'
import { redisProgramNames } from '../redis/install.ts'
import { createKeys } from '../redis/keys.ts'
import { findRunningServer } from '../redis/server.ts'
import { findProgram } from '../redis/system-package.ts'
import { tryRedis } from '../redis/trial.ts'
import { checkFolder, judgeClock, measureClock } from './doctor-checks.ts'

/** A Stable Diffusion server as the doctor needs to know it. */
export interface DoctorServer {
  readonly alias: string
  readonly url: string
}

export interface DoctorDependencies {
  readonly servers: readonly DoctorServer[]
  /** Resolves with what answers there, for example `A1111 1.10.1`; rejects where nothing usable does. */
  probeServer (url: string, alias: string): Promise<string>
  /** Takes the finished report, without a line break at its end. */
  print (report: string): void
}

const namesCure = /^(certificate_|https_expected|not_https|address_not_allowed|redirected|unauthorized|server_starting)/

type DoctorConfig = Pick<Config, 'REDIS_URL' | 'REDIS_SERVER' | 'DATA_DIR'> & Partial<Pick<Config, 'REDIS_PREFIX'>>

/** Milliseconds that each server and Redis get to answer. */
const patience = 3000

const silent = () => {}
const noLog: Log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent }

/**
 * Looks at everything that the service depends on, and says of each trouble what to do.
 * @param format json: one object with `ok` and `findings`
 * @returns the exit code: 1 if anything keeps the service from working, else 0
 */
export async function runDoctor (
  config: DoctorConfig,
  { servers, probeServer, print }: DoctorDependencies,
  format: 'text' | 'json'
): Promise<0 | 1> {
  const findings = (await Promise.all([
    examineRedis(config),
    checkFolder(config.DATA_DIR),
    examineServers(servers, probeServer)
  ])).flat()
  const ok = findings.every(({ level }) => level !== 'problem')
  print(format === 'json' ? JSON.stringify({ ok, findings }, null, 2) : renderFindings(findings))
  return ok ? 0 : 1
}

/** One line a finding, what to do about it below. */
export function renderFindings (findings: readonly Finding[]): string {
  const lines = findings.map(({ level, topic, message, remedy }) =>
    `${level.padEnd(8)} ${topic}: ${message}${remedy === undefined ? '' : `\n${' '.repeat(9)}${remedy}`}`)
  const count = (level: Finding['level']) => findings.filter(finding => finding.level === level).length
  return [...lines, '', `problems: ${count('problem')}, warnings: ${count('warning')}`].join('\n')
}

async function examineRedis (config: DoctorConfig): Promise<Finding[]> {
  const url = config.REDIS_URL || await findRunningServer(config.DATA_DIR)
  if (url === undefined) return [examineProgram(config.REDIS_SERVER)]
  try {
    const redis = await connectRedis(url, 'request', noLog, patience)
    try {
      const trial = await tryRedis(redis, createKeys(config.REDIS_PREFIX ?? 'sq'))
      return [...await checkRedis(redis), ...trial, judgeClock(await measureClock(redis))]
    } finally {
      redis.disconnect()
    }
  } catch (error) {
    return [{ topic: 'redis', level: 'problem', message: messageOf(error), remedy: 'Without Redis nothing else works.' }]
  }
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

async function examineServers (
  servers: readonly DoctorServer[], probeServer: DoctorDependencies['probeServer']
): Promise<Finding[]> {
  if (servers.length > 0) return Promise.all(servers.map(server => examineServer(server, probeServer)))
  const remedy = 'Add one with A1111_URL or SERVERS, or in the web UI; until then only the simulator makes images.'
  return [{ topic: 'servers', level: 'warning', message: 'no server is registered', remedy }]
}

async function examineServer (
  { alias, url }: DoctorServer, probeServer: DoctorDependencies['probeServer']
): Promise<Finding> {
  const topic = `server ${alias}`
  const shown = url.replace(/^([^/]*)\/\/.*@/, '$1//')
  const bound = new AbortController()
  const late = sleep(patience, undefined, { signal: bound.signal }).then(() => {
    throw new Error(`no answer within ${patience / 1000} s`)
  })
  try {
    return { topic, level: 'fine', message: `${await Promise.race([probeServer(url, alias), late])} at ${shown}` }
  } catch (error) {
    const message = `${shown} cannot be used: ${messageOf(error)}`
    // What is wrong with a certificate, a protocol or a setting has its cure in its sentence.
    if (error instanceof GenerationFailure && namesCure.test(error.code)) return { topic, level: 'problem', message }
    const remedy = 'Check that it runs with --api (and --listen if it is on another machine) and that the address is right.'
    return { topic, level: 'problem', message, remedy }
  } finally {
    bound.abort()
    late.catch(() => {})
  }
}
