import { once } from 'node:events'
import { createServer } from 'node:net'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import { adminTokenNotice, loadAdminToken } from '../access/sessions.ts'
import { createTrustRules } from '../access/trust.ts'
import type { Config } from '../config/settings.ts'
import type { SettingSources } from '../config/sources.ts'
import type { Log } from '../lib/logging.ts'
import { withoutTrailing } from '../lib/text.ts'
import { version } from '../lib/version.ts'
import { parseRedisAddress } from '../redis/address.ts'
import { bucketHome, claimHome, folderHome } from '../media/home.ts'
import { startEmbeddedRedis } from '../redis/private/embedded.ts'
import { findLocalServer, registerAs, registerFromSettings } from '../servers/discover.ts'
import type { Server } from '../servers/registry.ts'
import { createServerService } from '../servers/server-service.ts'
import { forgetServer, type Services, openServices } from '../services/services.ts'
import { createApp } from './app.ts'
import { createWorkerStatus, startWorker } from './worker.ts'

export interface BannerFacts {
  /** Addresses of the service. */
  readonly address: string
  /** How to enter the web UI if it asks for a token; null if it does not. */
  readonly notice: string | null
  readonly redis: string
  readonly servers: readonly Server[]
}

/** The message after the start, in a few lines. */
function banner ({ address, notice, redis, servers }: BannerFacts): string {
  const shown = servers.map(({ alias, address: { baseUrl }, origin, enabled }) => {
    const remark = origin === 'simulator' ? ' (simulator: it paints, there is no Stable Diffusion)' : ''
    return `${alias} ${baseUrl}${remark}${enabled ? '' : ' (disabled)'}`
  })
  const lines = [
    `StableQueue ${version}`,
    notice ?? `Web UI:    ${address}/`,
    `API docs:  ${address}/docs`,
    `Dashboard: ${address}/dashboard`,
    `Redis:     ${redis}`,
    `Servers:   ${shown.length === 0 ? 'none yet; add one with POST /api/v1/servers' : shown.join('\n           ')}`
  ]
  return `\n${lines.map(line => `  ${line}`).join('\n')}\n\n`
}

interface ListenAddress {
  readonly host: string
  readonly port: number
  /** Names of the settings, for the sentence. */
  readonly settings: { readonly host: string, readonly port: string }
  /** The command of this process, such as `npm start`. */
  readonly command: string
}

/**
 * Makes sure that this process can listen there, before anything else is started for it.
 * @throws Error with a sentence that names the setting
 */
export async function requireFreeAddress (address: ListenAddress): Promise<void> {
  const { host, port } = address
  if (port === 0) return
  const server = createServer()
  try {
    const listening = once(server, 'listening')
    server.listen({ host, port })
    await listening
  } catch (error) {
    throw listenProblem(error, address)
  } finally {
    if (server.listening) await new Promise(resolve => { server.close(resolve) })
  }
}

/** A helpful sentence for a listener's error. */
export function listenProblem (error: unknown, { host, port, settings, command }: ListenAddress): Error {
  const { code } = error as NodeJS.ErrnoException
  const sentence = {
    EADDRINUSE: `Port ${port} of ${host} is in use by another program, maybe by StableQueue itself. Stop that, or use ` +
      `another port: ${settings.port}=${port + 1} ${command}`,
    EACCES: `This user cannot listen on port ${port}; ports below 1024 need more rights. Use another port: ` +
      `${settings.port}=${port < 1024 ? 3000 : port + 1} ${command}`,
    EADDRNOTAVAIL: `${settings.host} is ${host}, which is no address of this machine. Use one of its own, 127.0.0.1 for ` +
      `this machine alone or 0.0.0.0 for all: ${settings.host}=127.0.0.1 ${command}`,
    ENOTFOUND: `${settings.host} is ${host}, which is no known name. Use an address of this machine, such as 127.0.0.1: ` +
      `${settings.host}=127.0.0.1 ${command}`
  }[String(code)]
  return sentence === undefined ? error as Error : new Error(sentence, { cause: error })
}

/** The parts of the service in this process. */
export interface Parts {
  readonly api: boolean
  readonly worker: boolean
  /** A private Redis, the search for servers and the simulator: the extras of the all-in-one start. */
  readonly embedded: boolean
  /** --adopt-data-dir: this place of media is the right one from now on. */
  readonly adopt?: boolean
}

/**
 * Parts of SHUTDOWN_SECONDS, together less than all of it: a part that does not end in its time, such as one that waits
 * for an unreachable Redis, must not keep the rest from ending in order.
 */
const shutdownBudget = {
  start: 0.1, requests: 0.15, worker: 0.4, simulator: 0.05, media: 0.02, connections: 0.05, 'private Redis': 0.2
} as const

/** Started parts, to be ended in the opposite order. */
type Closers = Array<{ readonly what: keyof typeof shutdownBudget, readonly close: () => Promise<unknown> }>

/** Runs the service until a signal ends it. @throws Error with a sentence for people if it cannot start */
export async function serve (config: Config, parts: Parts, log: Logger, sources: SettingSources): Promise<void> {
  const closers: Closers = []
  const starting = new AbortController()
  // From the very start: a signal during the start must not leave a Redis behind.
  closeWithGrace({ delay: config.SHUTDOWN_SECONDS * 1000, logger: false }, async ({ err: error, signal }) => {
    if (error !== undefined) log.fatal({ err: error }, 'the process has to end')
    else log.info({ signal }, 'stopping')
    starting.abort()
    // A start in progress would leave open what it opens next.
    await inTime('start', async () => { await started.catch(() => {}) }, config, log)
    await closeAll(closers, config, log)
    log.info('stopped')
  })
  const started = start(config, parts, log, sources, closers, starting.signal)
  try {
    await started
  } catch (error) {
    // The signal ends the process, in order.
    if (starting.signal.aborted) return
    await closeAll(closers, config, log)
    throw error
  }
}

async function closeAll (closers: Closers, config: Config, log: Log): Promise<void> {
  for (let next = closers.pop(); next !== undefined; next = closers.pop()) {
    const { what, close } = next
    await inTime(what, async () => {
      await close().catch(error => { log.error({ what, err: error }, 'could not be closed') })
    }, config, log)
  }
}

/** Waits for the end of a part no longer than its share of the time for stopping. */
async function inTime (
  what: keyof typeof shutdownBudget, end: () => Promise<void>, config: Config, log: Log
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>(resolve => {
    timer = setTimeout(() => {
      log.warn({ what }, 'did not end in time; going on without it')
      resolve()
    }, shutdownBudget[what] * config.SHUTDOWN_SECONDS * 1000)
  })
  await Promise.race([end(), late])
  clearTimeout(timer)
}

async function start (
  config: Config, parts: Parts, log: Logger, sources: SettingSources, closers: Closers, signal: AbortSignal
): Promise<void> {
  if (parts.api) await requireFreeAddress(apiAddress(config, parts))
  else if (config.WORKER_PORT > 0) await requireFreeAddress(statusAddress(config))
  const redis = await provideRedis(config, parts, log, closers, signal)
  signal.throwIfAborted()
  const services = await openServices(config, redis.url, log, sources)
  closers.push({ what: 'connections', close: services.close })
  if (services.bucket !== null) {
    const { requireFitBucket } = await import('../media/bucket-check.ts')
    await requireFitBucket(services.bucket, log)
  }
  const leaveHome = await claimHome({
    ...services,
    home: services.bucket === null ? folderHome(config.DATA_DIR) : bucketHome(services.bucket),
    adopt: parts.adopt === true
  })
  closers.push({ what: 'media', close: leaveHome })
  if (config.BOOTSTRAP_API_KEY !== '' && await services.accessKeys.importFirst(config.BOOTSTRAP_API_KEY)) {
    log.info('took over the access key of BOOTSTRAP_API_KEY')
  }
  await nameKeysWithoutImages(services)
  await registerFromSettings(services.registry, config, services.reach)
  signal.throwIfAborted()
  if (parts.embedded) await provideServer(services, closers)
  signal.throwIfAborted()
  if (parts.worker) {
    const worker = await startWorker(services)
    closers.push({ what: 'worker', close: worker.close })
  }
  signal.throwIfAborted()
  if (parts.api) {
    const { address, notice } = await listen(services, log, closers)
    const facts = { address, notice, redis: redis.description, servers: services.registry.list() }
    if (!signal.aborted) process.stdout.write(banner(facts))
  } else {
    if (config.WORKER_PORT > 0) await serveStatus(services, log, closers)
    log.info({ servers: services.registry.list().map(({ alias }) => alias) }, 'worker is up')
  }
}

function apiAddress ({ HOST: host, PORT: port }: Config, { embedded }: Pick<Parts, 'embedded'>): ListenAddress {
  const command = embedded ? 'npm start' : 'node src/launch.mjs api'
  return { host, port, settings: { host: 'HOST', port: 'PORT' }, command }
}

function statusAddress ({ HOST: host, WORKER_PORT: port }: Config): ListenAddress {
  return { host, port, settings: { host: 'HOST', port: 'WORKER_PORT' }, command: 'node src/launch.mjs worker' }
}

/** Such keys could read images of their jobs on some routes in former versions; each is named once. */
async function nameKeysWithoutImages ({ accessKeys, list, redis, keys, log }: Services): Promise<void> {
  for (const { id, name, active, scopes } of await accessKeys.list()) {
    const lacks = active && scopes.includes('jobs:read') && !scopes.includes('images:read') && !scopes.includes('*')
    if (!lacks || await list.count({ keyId: id, status: 'completed' }) === 0) continue
    if (await redis.sadd(keys.key('access-keys', 'told-images'), id) === 0) continue
    log.warn({ key: id, name }, 'this access key has jobs and lacks the scope images:read, without which it gets no ' +
      `images of finished jobs any more; PUT /api/v1/api-keys/${id} with its scopes and images:read gives them back`)
  }
}

async function serveStatus (services: Services, logger: Logger, closers: Closers): Promise<void> {
  const status = createWorkerStatus(services, logger)
  closers.push({ what: 'requests', close: async () => { await status.close() } })
  await status.listen({ host: services.config.HOST, port: services.config.WORKER_PORT })
}

async function provideRedis (
  config: Config, parts: Parts, log: Log, closers: Closers, signal: AbortSignal
): Promise<{ url: string, description: string }> {
  if (config.REDIS_URL !== '') return { url: config.REDIS_URL, description: parseRedisAddress(config.REDIS_URL).shown }
  if (!parts.embedded) {
    throw new Error('REDIS_URL is not set: api and worker are separate processes on one Redis, for example ' +
      'REDIS_URL=redis://127.0.0.1:6379. `stablequeue start` brings its own.')
  }
  const embedded = await startEmbeddedRedis({
    dataDirectory: config.DATA_DIR, program: config.REDIS_SERVER, log, signal
  })
  closers.push({ what: 'private Redis', close: embedded.stop })
  return embedded
}

/** With no real server registered: one that is found on this machine, else the simulator. */
async function provideServer (services: Services, closers: Closers): Promise<void> {
  const { registry, config, log, states, store, claims, connect } = services
  const forget = async (serverId: string) => { await forgetServer(services, serverId) }
  // The simulator goes in any case: a job that the real server cannot run fails there with the reason.
  const service = createServerService({
    registry, states, store: { ...store, unclaim: claims.unclaim }, checkMove: async () => {}, connect, forget
  })
  const real = () => registry.list().find(({ origin }) => origin !== 'simulator')
  if (real() === undefined) await findLocalServer(registry, config, address => connect({ address }), log)
  const simulators = registry.list().filter(({ origin }) => origin === 'simulator')
  const known = await states.readMany(registry.list().map(({ id }) => id))
  // A server that never answered can be a typo: it does not push the simulator aside.
  const other = registry.list().find(({ origin }, index) => origin !== 'simulator' && known[index]?.traits != null)
  if (other !== undefined) {
    for (const simulator of simulators) await service.remove(simulator, 'move', other.alias)
  } else if (config.SIMULATOR === 'auto') {
    const { startSimulator } = await import('../simulator/simulator.ts')
    const simulator = await startSimulator({})
    closers.push({ what: 'simulator', close: simulator.close })
    await registerAs(registry, 'Simulator', { baseUrl: simulator.url }, 'simulator')
  }
}

async function listen (
  services: Services, logger: Logger, closers: Closers
): Promise<{ address: string, notice: string | null }> {
  const { config } = services
  const admin = await loadAdminToken(config, config.MASTER_KEY === '' ? null : services.masterKey.current)
  const app = await createApp({
    services, logger, tokens: [config.AUTH_TOKEN, admin.token].filter(token => token !== '')
  })
  closers.push({ what: 'requests', close: async () => { await app.close() } })
  await app.listen({ host: config.HOST, port: config.PORT })
  const bound = app.addresses()[0]
  const port = typeof bound === 'object' ? bound.port : config.PORT
  const host = ['0.0.0.0', '::'].includes(config.HOST) ? 'localhost' : config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST
  const address = config.PUBLIC_URL === '' ? `http://${host}:${port}` : withoutTrailing(config.PUBLIC_URL, '/')
  const { mode, restriction } = createTrustRules(config)
  if (restriction !== null) logger.warn(restriction)
  return { address, notice: mode === 'token' ? adminTokenNotice(admin, address) : null }
}
