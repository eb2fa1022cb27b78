import { join } from 'node:path'
import { type DestinationStream, type Logger, pino } from 'pino'
import { allQueues } from '../../queues/registry.ts'
import { type Scope, scopes as allScopes } from '../../schemas/api-key.ts'
import { createA1111Client } from '../a1111/client.ts'
import { probeServer } from '../a1111/probe.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { AccessKey, AccessKeys } from '../access/keys.ts'
import { defaultScopes, isScope } from '../access/principal.ts'
import { runHere } from '../commands/client.ts'
import type { KeyStore } from '../commands/keys.ts'
import type { DoctorOptions, LocalCommands, ServeOptions } from '../commands/program.ts'
import { parseSettings } from '../config/parse.ts'
import type { Config } from '../config/settings.ts'
import {
  type Environment, readEnvironment, readEnvironmentFile, type SettingSources, sourcesOf
} from '../config/sources.ts'
import { UsageError } from '../lib/errors.ts'
import { type Log, serializeError, withoutSecrets } from '../lib/logging.ts'
import { startEmbeddedRedis } from '../redis/private/embedded.ts'
import { findRunningServer } from '../redis/private/server.ts'
import { createServerReach, parseServerUrl } from '../servers/address.ts'
import { serversOfSettings } from '../servers/discover.ts'
import { openServices, type Services } from '../services/services.ts'
import { readDoctorOptions } from './doctor-options.ts'
import { type Parts, serve } from './serve.ts'

/** JSON lines to standard output; readable ones on a terminal. */
function createLogger (config: Pick<Config, 'LOG_LEVEL'>): Logger {
  const options = {
    level: config.LOG_LEVEL, formatters: { log: withoutSecrets }, serializers: { err: serializeError }
  }
  if (!process.stdout.isTTY) return pino(options, standardOutput())
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss', singleLine: true } }
  })
}

/** Characters after which lines are written at once. */
const mostUnwritten = 16_000
/** Longest time for which a line waits for others, in milliseconds. */
const longestUnwritten = 20

/**
 * Writes the lines of a short time with one system call. A process that is killed loses those of that time. pino's own
 * buffer is not used: each of its flushes waits until the disk has the lines, and with it the whole process.
 */
function standardOutput (): DestinationStream {
  const output = pino.destination({ fd: process.stdout.fd, sync: true })
  let lines = ''
  let scheduled = false
  function flush (): void {
    scheduled = false
    const text = lines
    lines = ''
    if (text !== '') output.write(text)
  }
  process.on('exit', flush)
  return {
    write (line) {
      lines += line
      if (lines.length >= mostUnwritten) return flush()
      if (scheduled) return
      scheduled = true
      setTimeout(flush, longestUnwritten).unref()
    }
  }
}

/** Settings of environment and `.env`, overridden by the command line. @throws SettingsError */
function readSettings (flags: ServeOptions = {}): Config {
  return parseSettings({ ...readEnvironment(process.cwd()), ...settingsOf(flags) })
}

/** Source of each of these settings. */
function readSources (flags: ServeOptions): SettingSources {
  const file = Object.entries(readEnvironmentFile(join(process.cwd(), '.env')))
  return sourcesOf({
    'command line': settingsOf(flags),
    environment: process.env,
    // An empty variable of the environment hides the file's value.
    file: Object.fromEntries(file.filter(([name]) => process.env[name] === undefined))
  })
}

function settingsOf (flags: ServeOptions): Environment {
  const given = { A1111_URL: flags.a1111Url, HOST: flags.host, PORT: flags.port }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/**
 * Runs a task on the Redis of this installation: the one of REDIS_URL, the private one of a running service, or a
 * private one that is started for the task.
 */
async function withRunningRedis (
  config: Config, log: Log, work: (redisUrl: string) => Promise<number>
): Promise<number> {
  if (config.REDIS_URL !== '') return await work(config.REDIS_URL)
  const running = await findRunningServer(config.DATA_DIR)
  if (running !== undefined) return await work(running)
  const embedded = await startEmbeddedRedis({ dataDirectory: config.DATA_DIR, program: config.REDIS_SERVER, log })
  try {
    return await work(embedded.url)
  } finally {
    await embedded.stop()
  }
}

const processKinds = {
  start: { api: true, worker: true, embedded: true },
  api: { api: true, worker: false, embedded: false },
  worker: { api: false, worker: true, embedded: false }
} satisfies Readonly<Record<string, Parts>>

async function serveParts (kind: keyof typeof processKinds, options: ServeOptions): Promise<null> {
  const { adoptDataDir: adopt = false, ...flags } = options
  const config = readSettings(flags)
  await serve(config, { ...processKinds[kind], adopt }, createLogger(config), readSources(flags))
  return null
}

async function simulate (argv: readonly string[]): Promise<null> {
  const { parseSimulatorArguments, simulatorHelp } = await import('../simulator/settings.ts')
  const { help: wantsHelp, ...options } = parseSimulatorArguments([...argv])
  if (wantsHelp) {
    process.stdout.write(`${simulatorHelp}\n`)
    return null
  }
  const { startSimulator } = await import('../simulator/simulator.ts')
  const simulator = await startSimulator(options)
  process.stdout.write(`Simulator: ${simulator.url}\n`)
  simulator.died.then(() => {
    process.stderr.write('RuntimeError: Cannot add middleware after an application has started\n')
    process.exit(1)
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { simulator.close().finally(() => process.exit(0)) })
  }
  return null
}

/** The access keys in the Redis of this installation. */
async function withKeys (work: (keys: KeyStore) => Promise<number>): Promise<number> {
  const config = readSettings()
  const log = createLogger({ LOG_LEVEL: 'silent' })
  return await withRunningRedis(config, log, async redisUrl => {
    const services = await openServices(config, redisUrl, log)
    try {
      return await work(keyStoreOf(services.accessKeys))
    } finally {
      await services.close()
    }
  })
}

function keyStoreOf (accessKeys: AccessKeys): KeyStore {
  return {
    async create ({ name, scopes, description, rate, background }) {
      const { accessKey, secret } = await accessKeys.create({
        name,
        scopes: scopes === undefined ? defaultScopes : scopes.map(scopeOf),
        ...(description === undefined ? {} : { description }),
        ...(rate === undefined ? {} : { ratePerMinute: rate }),
        ...(background === undefined ? {} : { background })
      })
      return { ...shownOf(accessKey), secret }
    },
    list: async () => (await accessKeys.list()).map(shownOf),
    remove: async id => await accessKeys.remove(id)
  }
}

const shownOf = ({ scopes, ...key }: AccessKey) => ({ ...key, scopes: [...scopes] })

function scopeOf (scope: string): Scope {
  if (isScope(scope)) return scope
  throw new UsageError(`${scope} is no scope; there are: ${allScopes.join(', ')}`)
}

async function media ({ to, verify = false }: Parameters<LocalCommands['copyMedia']>[0]): Promise<number> {
  const config = readSettings()
  if (config.MEDIA_URL === '') {
    throw new UsageError('MEDIA_URL is not set: it names the bucket on one side of the copy, such as ' +
      'MEDIA_URL=s3://bucket/prefix, with S3_ENDPOINT and the access key.')
  }
  const { copyMedia } = await import('./media-copy.ts')
  const cancelled = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { cancelled.abort() })
  return await copyMedia(config, {
    to, verify, cancelled: cancelled.signal, print: line => { process.stdout.write(`${line}\n`) }
  })
}

/** Null if Redis does not answer. The doctor's own checks report faults of it or of the master key. */
async function openKnown (config: Config): Promise<Services | null> {
  const redisUrl = config.REDIS_URL || await findRunningServer(config.DATA_DIR)
  if (redisUrl === undefined) return null
  return await openServices(config, redisUrl, createLogger({ LOG_LEVEL: 'silent' })).catch(() => null)
}

/** The servers of the settings and those that were added while the service ran. */
function knownServers (
  config: Config, services: Services | null
): Array<{ alias: string, address: ServerAddress, draining?: boolean }> {
  const named = serversOfSettings(config)
  if (services === null) return named
  const registered = services.registry.list()
  // Those of the settings can have got tokens and certificates since.
  const missing = named.filter(({ alias, address }) =>
    registered.every(known => known.alias !== alias || known.address.baseUrl !== address.baseUrl))
  return [...missing, ...registered.filter(({ alias }) => missing.every(server => server.alias !== alias))]
}

async function doctor (values: DoctorOptions): Promise<number> {
  const config = readSettings()
  const format = values.json ? 'json' : 'text'
  const wanted = readDoctorOptions(values, config)
  if (wanted !== null) {
    const { runThoroughDoctor } = await import('./doctor-thorough.ts')
    const cancelled = new AbortController()
    process.once('SIGINT', () => { cancelled.abort() })
    process.once('SIGTERM', () => { cancelled.abort() })
    return await runThoroughDoctor(await wanted, format, {
      config,
      async registered () {
        const services = await openKnown(config)
        const known = knownServers(config, services).map(({ alias, address }) => ({ alias, url: address.baseUrl }))
        await services?.close()
        return known
      },
      progress: line => { process.stderr.write(`${line}\n`) },
      print: report => { process.stdout.write(`${report}\n`) },
      cancelled: cancelled.signal
    })
  }
  const { runDoctor } = await import('./doctor.ts')
  // Kept open, as it knows which servers are starting.
  const services = await openKnown(config)
  const servers = knownServers(config, services)
    .map(({ alias, address, draining }) => ({ alias, url: address.baseUrl, address, draining }))
  const { resolve } = createServerReach(config.SERVERS_ALLOW)
  return await runDoctor(config, {
    servers,
    queues: services === null ? [] : allQueues(services),
    print: report => { process.stdout.write(`${report}\n`) },
    async probeServer (url, alias) {
      const address = servers.find(server => server.alias === alias)?.address ?? parseServerUrl(url, 'url')
      const client = services === null ? createA1111Client(address, { resolve }) : services.connect({ address })
      try {
        const { kind, version } = await probeServer(client)
        return version === null ? kind : `${kind} ${version}`
      } finally {
        await client.close()
      }
    }
  }, format).finally(async () => { await services?.close() })
}

/** The command line. Ends the process if a command fails; services end by a signal. */
export async function main (argv: readonly string[]): Promise<void> {
  const code = await runHere(argv, { serve: serveParts, simulate, doctor, copyMedia: media, withKeys })
  if (code === null) return
  // Whatever a command that failed has left open does not keep the process alive.
  if (code !== 0) process.exit(code)
  process.exitCode = code
}
