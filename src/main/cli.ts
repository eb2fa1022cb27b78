import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type DestinationStream, type Logger, pino } from 'pino'
import { allQueues } from '../../queues/registry.ts'
import { type Scope, scopes as allScopes } from '../../schemas/api-key.ts'
import { createA1111Client } from '../a1111/client.ts'
import { probeServer } from '../a1111/probe.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { AccessKey, AccessKeys } from '../access/keys.ts'
import { defaultScopes, isScope } from '../access/principal.ts'
import { parseSettings } from '../config/parse.ts'
import type { Config } from '../config/settings.ts'
import {
  type Environment, readEnvironment, readEnvironmentFile, type SettingSources, sourcesOf
} from '../config/sources.ts'
import { messageOf, UsageError } from '../lib/errors.ts'
import { type Log, serializeError } from '../lib/logging.ts'
import { version } from '../lib/version.ts'
import { startEmbeddedRedis } from '../redis/private/embedded.ts'
import { findRunningServer } from '../redis/private/server.ts'
import { createServerReach, parseServerUrl } from '../servers/address.ts'
import { serversOfSettings } from '../servers/discover.ts'
import { openServices, type Services } from '../services/services.ts'
import { doctorOptions, readDoctorOptions } from './doctor-options.ts'
import { type Parts, serve } from './serve.ts'

const usage = `Usage:
  stablequeue keys create --name NAME [--scopes a,b|*] [--description TEXT] [--rate N|none] [--json]
  stablequeue keys list [--json]
  stablequeue keys revoke ID|KEY [--json]`

/**
 * Access keys from the command line.
 * @param print receives one finished text
 * @throws UsageError for unknown words
 */
async function runKeys (
  argv: readonly string[], accessKeys: AccessKeys, print: (text: string) => void
): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      scopes: { type: 'string' },
      description: { type: 'string' },
      rate: { type: 'string' },
      json: { type: 'boolean' }
    }
  })
  const [action, subject] = positionals
  const show = (value: unknown, text: string) => { print(values.json ? JSON.stringify(value, null, 2) : text) }

  if (action === 'create') {
    if (!values.name) throw new UsageError(`--name is missing.\n${usage}`)
    const { accessKey, secret } = await accessKeys.create({
      name: values.name,
      scopes: values.scopes === undefined ? defaultScopes : scopesOf(values.scopes),
      ...(values.description === undefined ? {} : { description: values.description }),
      ...(values.rate === undefined ? {} : { ratePerMinute: rateOf(values.rate) })
    })
    show({ ...accessKey, secret }, `Key:    ${accessKey.key}\nSecret: ${secret}\n\nThe secret is shown only this once.`)
  } else if (action === 'list') {
    const keys = await accessKeys.list()
    show(keys, keys.length === 0 ? 'There is no access key.' : keys.map(lineOf).join('\n'))
  } else if (action === 'revoke') {
    const found = (await accessKeys.list()).find(({ id, key }) => id === subject || key === subject)
    if (found === undefined) throw new UsageError(`There is no access key ${subject ?? ''}; see: stablequeue keys list`)
    await accessKeys.remove(found.id)
    show({ revoked: found.id }, `Revoked ${found.key} (${found.name}).`)
  } else {
    throw new UsageError(usage)
  }
}

function lineOf ({ id, key, name, active, scopes }: AccessKey): string {
  return `${id}  ${key}  ${active ? 'active ' : 'off    '}  ${name}  ${[...scopes].join(',')}`
}

function scopesOf (text: string): Scope[] {
  return text.split(',').map(word => {
    const scope = word.trim()
    if (isScope(scope)) return scope
    throw new UsageError(`${scope} is no scope; there are: ${allScopes.join(', ')}`)
  })
}

function rateOf (text: string): number | null {
  if (text === 'none') return null
  const rate = Number(text)
  if (Number.isInteger(rate) && rate > 0) return rate
  throw new UsageError(`--rate must be a whole number above 0, or none.\n${usage}`)
}

/** Never in a log line of any module. */
const secrets = [
  'req.headers.authorization', 'req.headers.cookie', 'req.headers["x-api-key"]', 'req.headers["x-api-secret"]',
  'req.headers["x-webhook-key"]', '*.password', '*.secret'
]

/** Options for pino. */
export const redaction = { paths: secrets, censor: '(hidden)' }

/** JSON lines to standard output; readable ones on a terminal. */
function createLogger (config: Pick<Config, 'LOG_LEVEL'>): Logger {
  const options = { level: config.LOG_LEVEL, redact: redaction, serializers: { err: serializeError } }
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

/** Flags of settings. */
export interface SettingFlags {
  readonly 'a1111-url'?: string
  readonly host?: string
  readonly port?: string
}

const settingFlags = {
  'a1111-url': { type: 'string' }, host: { type: 'string' }, port: { type: 'string' }
} as const

/** Settings of environment and `.env`, overridden by the command line. @throws SettingsError */
function readSettings (flags: SettingFlags = {}): Config {
  return parseSettings({ ...readEnvironment(process.cwd()), ...settingsOf(flags) })
}

/** Source of each of these settings. */
function readSources (flags: SettingFlags = {}): SettingSources {
  const file = Object.entries(readEnvironmentFile(join(process.cwd(), '.env')))
  return sourcesOf({
    'command line': settingsOf(flags),
    environment: process.env,
    // An empty variable of the environment hides the file's value.
    file: Object.fromEntries(file.filter(([name]) => process.env[name] === undefined))
  })
}

function settingsOf (flags: SettingFlags): Environment {
  const given = { A1111_URL: flags['a1111-url'], HOST: flags.host, PORT: flags.port }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/**
 * Runs a task on the Redis of this installation: the one of REDIS_URL, the private one of a running service, or a
 * private one that is started for the task.
 */
async function withRunningRedis (
  config: Config, log: Log, work: (redisUrl: string) => Promise<void>
): Promise<void> {
  if (config.REDIS_URL !== '') return await work(config.REDIS_URL)
  const running = await findRunningServer(config.DATA_DIR)
  if (running !== undefined) return await work(running)
  const embedded = await startEmbeddedRedis({ dataDirectory: config.DATA_DIR, program: config.REDIS_SERVER, log })
  try {
    await work(embedded.url)
  } finally {
    await embedded.stop()
  }
}

const help = `StableQueue ${version}

  stablequeue start [--a1111-url URL] [--host H] [--port N]   everything in one process, with a private Redis
  stablequeue api                                             only the HTTP service, on REDIS_URL
  stablequeue worker                                          only the workers, on REDIS_URL
                     each with --adopt-data-dir               media are here from now on: yes, once; see docs/operating.md
  stablequeue simulator [--port N] [--help]                   a server that behaves like A1111, without a GPU
  stablequeue keys create|list|revoke [--json]                access keys
  stablequeue media copy [--to s3|folder] [--verify]          copies all media between DATA_DIR and the bucket of MEDIA_URL
  stablequeue doctor [--json]                                 checks the installation, and says what to do
  stablequeue doctor --thorough --server ALIAS|URL            checks how a server behaves; see docs/doctor.md
                     [--checkpoint TITLE] [--minutes N] [--service URL] [--key KEY:SECRET | --token TOKEN] [--json]

Settings come from the environment and from .env; see .env.example.
`

const processKinds: Readonly<Record<string, Parts>> = {
  start: { api: true, worker: true, embedded: true },
  api: { api: true, worker: false, embedded: false },
  worker: { api: false, worker: true, embedded: false }
}

/** The command line. Ends the process if a command fails; services end by a signal. */
export async function main (argv: readonly string[]): Promise<void> {
  try {
    await run(argv)
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(isUsage(error) ? 2 : 1)
  }
}

/** parseArgs has codes for unknown words. */
function isUsage (error: unknown): boolean {
  if (error instanceof UsageError) return true
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

async function run ([command = 'help', ...rest]: readonly string[]): Promise<void> {
  const parts = processKinds[command]
  if (parts !== undefined) {
    const { values: { 'adopt-data-dir': adopt = false, ...values } } = parseArgs({
      args: [...rest], options: { ...settingFlags, 'adopt-data-dir': { type: 'boolean' } }
    })
    const config = readSettings(values)
    await serve(config, { ...parts, adopt }, createLogger(config), readSources(values))
    return
  }
  switch (command) {
    case 'simulator': return await simulate(rest)
    case 'keys': return await keys(rest)
    case 'media': return await media(rest)
    case 'doctor': return await doctor(rest)
    case 'help': case '--help': case '-h': process.stdout.write(help); return
    case '--version': process.stdout.write(`${version}\n`); return
    default: throw new UsageError(`There is no command ${command}.\n\n${help}`)
  }
}

async function simulate (argv: readonly string[]): Promise<void> {
  const { parseSimulatorArguments, simulatorHelp } = await import('../simulator/settings.ts')
  const { help: wantsHelp, ...options } = parseSimulatorArguments([...argv])
  if (wantsHelp) {
    process.stdout.write(`${simulatorHelp}\n`)
    return
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
}

async function keys (argv: readonly string[]): Promise<void> {
  const config = readSettings()
  const log = createLogger({ LOG_LEVEL: 'silent' })
  await withRunningRedis(config, log, async redisUrl => {
    const services = await openServices(config, redisUrl, log)
    try {
      await runKeys(argv, services.accessKeys, text => { process.stdout.write(`${text}\n`) })
    } finally {
      await services.close()
    }
  })
}

async function media (argv: readonly string[]): Promise<void> {
  const { positionals, values: { to = 's3', verify = false } } = parseArgs({
    args: [...argv], allowPositionals: true, options: { to: { type: 'string' }, verify: { type: 'boolean' } }
  })
  if (positionals.join(' ') !== 'copy' || (to !== 's3' && to !== 'folder')) {
    throw new UsageError('Usage:\n  stablequeue media copy [--to s3|folder] [--verify]')
  }
  const config = readSettings()
  if (config.MEDIA_URL === '') {
    throw new UsageError('MEDIA_URL is not set: it names the bucket on one side of the copy, such as ' +
      'MEDIA_URL=s3://bucket/prefix, with S3_ENDPOINT and the access key.')
  }
  const { copyMedia } = await import('./media-copy.ts')
  const cancelled = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { cancelled.abort() })
  process.exitCode = await copyMedia(config, {
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

async function doctor (argv: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...argv], options: doctorOptions })
  const config = readSettings()
  const format = values.json ? 'json' : 'text'
  const wanted = readDoctorOptions(values, config)
  if (wanted !== null) {
    const { runThoroughDoctor } = await import('./doctor-thorough.ts')
    const cancelled = new AbortController()
    process.once('SIGINT', () => { cancelled.abort() })
    process.once('SIGTERM', () => { cancelled.abort() })
    process.exitCode = await runThoroughDoctor(await wanted, format, {
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
    return
  }
  const { runDoctor } = await import('./doctor.ts')
  // Kept open, as it knows which servers are starting.
  const services = await openKnown(config)
  const servers = knownServers(config, services)
    .map(({ alias, address, draining }) => ({ alias, url: address.baseUrl, address, draining }))
  const { resolve } = createServerReach(config.SERVERS_ALLOW)
  process.exitCode = await runDoctor(config, {
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
