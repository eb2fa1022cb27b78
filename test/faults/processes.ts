import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { sourcesOf } from '../../src/config/sources.ts'
import { createKeys, type Keys } from '../../src/lib/keys.ts'
import { createApp } from '../../src/main/app.ts'
import { startWorker } from '../../src/main/worker.ts'
import { isSameProcess } from '../../src/redis/private/process.ts'
import { findRunningServer, readServerRecord } from '../../src/redis/private/server.ts'
import { registerFromSettings } from '../../src/servers/discover.ts'
import { openServices, type Services } from '../../src/services/services.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { client, silentLogger } from '../helper.ts'
import { startTestRedis, type TestRedis } from '../redis.ts'
import { inRepository } from '../root.ts'

const launcher = inRepository('src/launch.mjs')
/** Lets a test set the clock of a process: `Date` is shifted by the offset of the last message. */
const clockModule = `data:text/javascript,${encodeURIComponent(`
  const RealDate = Date
  let offset = 0
  globalThis.Date = class Date extends RealDate {
    constructor (...parameters) { super(...(parameters.length === 0 ? [RealDate.now() + offset] : parameters)) }
    static now () { return RealDate.now() + offset }
  }
  process.on('message', message => {
    offset = message.offset
    process.send('set')
  })
  process.channel?.unref()
`)}`
type Teardown = Pick<Test, 'teardown'>

export interface Exit { readonly code: number | null, readonly signal: string | null }

/** One process of the service, as an operator sees it: its output and its exit. */
export interface ServiceProcess {
  readonly pid: number
  readonly ended: Promise<Exit>
  /** Its output so far. */
  output (): string
  /** Resolves with the match once it has printed this. @throws Error if it exits before */
  printed (pattern: RegExp): Promise<RegExpExecArray>
  signal (signal: NodeJS.Signals): void
  /** Sets its clock, in milliseconds from the right time; intervals and Redis keep theirs. */
  setClock (offset: number): Promise<void>
  /** Kills it like a power cut. */
  kill (): Promise<Exit>
}

export type Command = 'api' | 'worker' | 'start'
export type Client = ReturnType<typeof client>

/** Answers requests. */
export interface Api extends Client {
  readonly url: string
}

/** A process that answers requests. */
export interface ApiProcess extends ServiceProcess, Api {
  /** A connection to its Redis for inspection; waits while that is away. */
  readonly look: Redis
}

/** A worker in the process of the test. */
export interface WorkerHere {
  /** Ends it in order. */
  close (): Promise<void>
}

/** Real processes on one durable Redis, and a simulated server that they share. */
export interface Fleet {
  readonly redis: TestRedis
  /** A connection for inspection to the Redis that api and worker processes share; waits while it is away. */
  readonly look: Redis
  readonly keys: Keys
  readonly simulator: Simulator
  readonly dataDirectory: string
  /** All started processes, dead or alive. */
  readonly processes: readonly ServiceProcess[]
  /** Resolves when the process is up: a worker as soon as it follows the servers, not only when it serves one. */
  worker (settings?: Settings): Promise<ServiceProcess>
  api (settings?: Settings): Promise<ApiProcess>
  /** The API in the process of the test, for tests that strike only at workers: a process takes two seconds of CPU. */
  apiHere (settings?: Settings): Promise<Api>
  /** A worker in the process of the test, for tests that neither strike at it nor read its output. */
  workerHere (settings?: Settings): Promise<WorkerHere>
  /** The same without waiting until it is up, in a folder of its own. */
  starting (settings?: Settings): Promise<ServiceProcess>
  /** Everything in one process, on a private Redis. */
  allInOne (settings?: Settings): Promise<ApiProcess>
}

type Settings = Readonly<Record<string, string>>

/** Steps slow enough that a fault can hit a generation, small enough that tests stay fast. */
const simulated: SimulatorOptions = { stepMilliseconds: 20, loadMilliseconds: 0 }

export async function startFleet (t: Teardown, options: SimulatorOptions = {}): Promise<Fleet> {
  const redis = await startTestRedis({ persistence: 'always' })
  t.teardown(redis.stop)
  const simulator = await startSimulator({ ...simulated, ...options })
  t.teardown(simulator.close)
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sq-faults-'))
  t.teardown(() => rm(dataDirectory, { recursive: true, force: true }))
  const keys = createKeys('sq')
  const look = lookInto(t, redis.url)
  const processes: ServiceProcess[] = []

  const common = {
    DATA_DIR: dataDirectory,
    PORT: '0',
    SERVERS: `Main=${simulator.url}`,
    SIMULATOR: 'off',
    RETRY_BACKOFF_SECONDS: '0.05',
    SERVER_START_SECONDS: '0.05',
    RATE_LIMIT_PER_MINUTE: '0'
  }

  function launch (command: Command, settings: Settings): ServiceProcess {
    const started = startProcess(command, dataDirectory, {
      ...common, ...command !== 'start' && { REDIS_URL: redis.url }, ...settings
    })
    processes.push(started)
    t.teardown(started.kill)
    return started
  }

  async function answering (command: Command, settings: Settings): Promise<Omit<ApiProcess, 'look' | keyof Client>> {
    const started = launch(command, settings)
    const [, url = ''] = await started.printed(/API docs: +(\S+)\/docs/)
    return { ...started, url }
  }

  async function openHere (settings: Settings): Promise<Services> {
    const all = { ...common, ...settings }
    const config = parseSettings(all)
    const redisUrl = settings.REDIS_URL ?? redis.url
    const services = await openServices(config, redisUrl, silentLogger, sourcesOf({ environment: all }))
    t.teardown(services.close)
    await registerFromSettings(services.registry, config, services.reach)
    return services
  }

  return {
    redis,
    look,
    keys,
    simulator,
    dataDirectory,
    processes,
    async worker (settings = {}) {
      const started = launch('worker', settings)
      await started.printed(/worker is up/)
      return started
    },
    async api (settings = {}) {
      const started = await answering('api', settings)
      return { ...started, look, ...client(started.url, { redisUrl: redis.url, keys }) }
    },
    async apiHere (settings = {}) {
      const services = await openHere(settings)
      const app = await createApp({ services, logger: silentLogger, tokens: [] })
      t.teardown(() => app.close())
      const url = await app.listen({ host: '127.0.0.1', port: 0 })
      return { url, ...client(url, services) }
    },
    async workerHere (settings = {}) {
      const worker = await startWorker(await openHere(settings))
      let closed: Promise<void> | undefined
      const close = async () => { await (closed ??= worker.close()) }
      t.teardown(close)
      return { close }
    },
    async starting (settings = {}) {
      const folder = await mkdtemp(join(tmpdir(), 'sq-starting-'))
      t.teardown(async () => {
        await endPrivateRedis(folder)
        await rm(folder, { recursive: true, force: true })
      })
      return launch('start', { DATA_DIR: folder, ...settings })
    },
    async allInOne (settings = {}) {
      t.teardown(async () => { await endPrivateRedis(dataDirectory) })
      const started = await answering('start', settings)
      const redisUrl = await findRunningServer(dataDirectory) ?? ''
      return { ...started, look: lookInto(t, redisUrl), ...client(started.url, { redisUrl, keys }) }
    }
  }
}

function lookInto (t: Teardown, redisUrl: string): Redis {
  const look = new Redis(redisUrl, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
  look.on('error', () => {})
  t.teardown(() => { look.disconnect() })
  return look
}

/** Resolves when no job waits or runs. */
export async function untilAllEnded ({ look, keys }: Pick<Fleet, 'look' | 'keys'>): Promise<void> {
  const open = ['pending', 'processing'].map(status => keys.key('jobs', '*', '*', status))
  while ((await Promise.all(open.map(async index => await look.zcard(index)))).some(count => count > 0)) {
    await sleep(20)
  }
}

/** A private Redis outlives the kill of its service, as intended, but not its test. */
async function endPrivateRedis (dataDirectory: string): Promise<void> {
  const record = await readServerRecord(dataDirectory)
  if (record !== undefined && isSameProcess(record.process)) process.kill(record.process.pid, 'SIGKILL')
}

/** Starts the command line, which builds if needed, in a folder without any .env and with a clean environment. */
function startProcess (command: Command, folder: string, settings: Settings): ServiceProcess {
  // Not node itself: tap would make it load the modules of tests, which is slow and not under test.
  const options = settings.NODE_OPTIONS === undefined ? [] : [`NODE_OPTIONS=${settings.NODE_OPTIONS}`]
  const program = [process.execPath, '--enable-source-maps', '--import', clockModule, launcher, command]
  const child = spawn('env', ['-u', 'NODE_OPTIONS', ...options, ...program], {
    cwd: folder, env: { ...cleanEnvironment(), ...settings }, stdio: ['ignore', 'pipe', 'pipe', 'ipc']
  })
  const ended = endOf(child)
  guard(child)
  let all = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => {
      all += text
      child.emit('printed')
    })
  }
  return {
    pid: child.pid ?? 0,
    ended,
    output: () => all,
    async printed (pattern) {
      for (;;) {
        const found = pattern.exec(all)
        if (found !== null) return found
        const end = await Promise.race([once(child, 'printed').then(() => null), ended])
        if (end !== null && !pattern.test(all)) {
          throw new Error(`${command} ended (${end.code ?? end.signal}) before it printed ${String(pattern)}:\n${all}`)
        }
      }
    },
    signal: signal => { child.kill(signal) },
    async setClock (offset) {
      child.send({ offset })
      await once(child, 'message')
    },
    async kill () {
      child.kill('SIGKILL')
      return await ended
    }
  }
}

/** A shell that kills the process when this one is gone, for any reason: the pipe to the shell closes then. */
function guard (child: ChildProcess): void {
  const shell = spawn('sh', ['-c', 'cat >/dev/null; kill -9 "$1" 2>/dev/null', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'], detached: true
  })
  shell.unref()
  child.once('close', () => { shell.kill() })
}

async function endOf (child: ChildProcess): Promise<Exit> {
  // `close`, not `exit`: its last output must be complete.
  const [code, signal] = await once(child, 'close') as [number | null, string | null]
  return { code, signal }
}

/** Only the PATH of the tests' own environment. */
function cleanEnvironment (): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME }
}
