import { parseArgs } from 'node:util'
import { probeServer } from './a1111/probe.ts'
import { createA1111Client } from './a1111/client.ts'
import { doctorOptions, readDoctorOptions } from './commands/doctor-options.ts'
import { runThoroughDoctor } from './commands/doctor-thorough.ts'
import { runDoctor } from './commands/doctor.ts'
import { runKeys } from './commands/keys.ts'
import { createLogger } from './commands/logger.ts'
import { serve, type Parts } from './commands/serve.ts'
import { readSettings, readSources, settingFlags } from './commands/settings.ts'
import { withRunningRedis } from './commands/running-redis.ts'
import { UsageError } from './commands/usage-error.ts'
import { messageOf } from './errors.ts'
import type { ServerAddress } from './a1111/types.ts'
import type { Config } from './config/settings.ts'
import { openHouse, type House } from './house.ts'
import { findRunningServer } from './redis/server.ts'
import { parseServerUrl } from './servers/address.ts'
import { createServerReach } from './servers/reach.ts'
import { serversOfSettings } from './servers/discover.ts'
import { parseSimulatorArguments, simulatorHelp } from './simulator/arguments.ts'
import { startSimulator } from './simulator/simulator.ts'
import { version } from './version.ts'

const help = `StableQueue ${version}

  stablequeue start [--a1111-url URL] [--host H] [--port N]   everything in one process, with a private Redis
  stablequeue api                                             only the HTTP service, on REDIS_URL
  stablequeue worker                                          only the workers, on REDIS_URL
  stablequeue simulator [--port N] [--help]                   a server that behaves like A1111, without a GPU
  stablequeue keys create|list|revoke [--json]                access keys
  stablequeue doctor [--json]                                 checks the installation, and says what to do
  stablequeue doctor --thorough --server ALIAS|URL            checks how a server behaves; see docs/doctor.md
                     [--checkpoint TITLE] [--minutes N] [--service URL] [--key KEY:SECRET | --token TOKEN] [--json]

Settings come from the environment and from .env; see .env.example.
`

const services: Readonly<Record<string, Parts>> = {
  start: { api: true, worker: true, company: true },
  api: { api: true, worker: false, company: false },
  worker: { api: false, worker: true, company: false }
}

/** The command line. Ends the process where a command fails; services end by a signal. */
export async function main (argv: readonly string[]): Promise<void> {
  try {
    await run(argv)
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(isUsage(error) ? 2 : 1)
  }
}

/** parseArgs has codes for words that it does not know. */
function isUsage (error: unknown): boolean {
  if (error instanceof UsageError) return true
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

async function run ([command = 'help', ...rest]: readonly string[]): Promise<void> {
  const parts = services[command]
  if (parts !== undefined) {
    const { values } = parseArgs({ args: [...rest], options: settingFlags })
    const config = readSettings(values)
    await serve(config, parts, createLogger(config), readSources(values))
    return
  }
  switch (command) {
    case 'simulator': return await simulate(rest)
    case 'keys': return await keys(rest)
    case 'doctor': return await doctor(rest)
    case 'help': case '--help': case '-h': process.stdout.write(help); return
    case '--version': process.stdout.write(`${version}\n`); return
    default: throw new UsageError(`There is no command ${command}.\n\n${help}`)
  }
}

async function simulate (argv: readonly string[]): Promise<void> {
  const { help: wantsHelp, ...options } = parseSimulatorArguments([...argv])
  if (wantsHelp) {
    process.stdout.write(`${simulatorHelp}\n`)
    return
  }
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
    const house = await openHouse(config, redisUrl, log)
    try {
      await runKeys(argv, house.accessKeys, text => { process.stdout.write(`${text}\n`) })
    } finally {
      await house.close()
    }
  })
}

/** Null where Redis cannot be asked. What is wrong with it or the master key is told by the doctor's own look. */
async function openKnown (config: Config): Promise<House | null> {
  const redisUrl = config.REDIS_URL || await findRunningServer(config.DATA_DIR)
  if (redisUrl === undefined) return null
  return await openHouse(config, redisUrl, createLogger({ LOG_LEVEL: 'silent' })).catch(() => null)
}

/** The servers of the settings and those that were added while the service ran. */
function knownServers (config: Config, house: House | null): Array<{ alias: string, address: ServerAddress }> {
  const named = serversOfSettings(config)
  if (house === null) return named
  const registered = house.registry.list()
  // Those of the settings may have got tokens and certificates in addition since.
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
    const cancelled = new AbortController()
    process.once('SIGINT', () => { cancelled.abort() })
    process.once('SIGTERM', () => { cancelled.abort() })
    process.exitCode = await runThoroughDoctor(await wanted, format, {
      config,
      async registered () {
        const house = await openKnown(config)
        const known = knownServers(config, house).map(({ alias, address }) => ({ alias, url: address.baseUrl }))
        await house?.close()
        return known
      },
      tell: line => { process.stderr.write(`${line}\n`) },
      print: report => { process.stdout.write(`${report}\n`) },
      cancelled: cancelled.signal
    })
    return
  }
  // Kept open, as it knows which servers are starting.
  const house = await openKnown(config)
  const servers = knownServers(config, house).map(({ alias, address }) => ({ alias, url: address.baseUrl, address }))
  const { resolve } = createServerReach(config.SERVERS_ALLOW)
  process.exitCode = await runDoctor(config, {
    servers,
    print: report => { process.stdout.write(`${report}\n`) },
    async probeServer (url, alias) {
      const address = servers.find(server => server.alias === alias)?.address ?? parseServerUrl(url, 'url')
      const client = house === null ? createA1111Client(address, { resolve }) : house.connect({ address })
      try {
        const { kind, version: told } = await probeServer(client)
        return told === null ? kind : `${kind} ${told}`
      } finally {
        await client.close()
      }
    }
  }, format).finally(async () => { await house?.close() })
}
