import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { findFreePort } from '../../src/redis/private/server.ts'
import { createCaller, type Caller } from './caller.ts'
import { startChild, type Child } from './child.ts'
import type { Environment } from './environment.ts'
import { program as measured } from './product.ts'
import { until } from './until.ts'

/** The product in a process of its own, started by its own command line. */
export interface ServiceProcess extends Child {
  readonly url: string
  readLog (): Promise<string>
  /** Its processor time so far, in microseconds. */
  used (): Promise<number>
  /** Resolves once its log has this text. */
  logged (text: string): Promise<void>
}

export interface ServiceOptions {
  /** `start`: HTTP and jobs in one process. */
  readonly command: 'start' | 'api' | 'worker'
  /** Addresses of servers by alias. */
  readonly servers: Readonly<Record<string, string>>
  readonly settings?: Readonly<Record<string, string>>
  /** The module of another command line, such as that of an earlier version that is started beside this one. */
  readonly program?: URL
}

const watch = new URL('./watch-process.js', import.meta.url)

/** Starts the product; does not wait until it is up. Its log goes into the environment's folder. */
export async function launchService (
  environment: Environment, { command, servers, settings = {}, program = pathToFileURL(measured()) }: ServiceOptions
): Promise<ServiceProcess> {
  const port = await findFreePort()
  const logPath = join(environment.folder, `${command}-${port}.log`)
  const log = await open(logPath, 'a')
  const child = startChild(environment, program, [command], {
    cwd: environment.folder,
    execArgv: ['--import', watch.href],
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: String(port),
      DATA_DIR: environment.folder,
      REDIS_URL: environment.redisUrl,
      SERVERS: Object.entries(servers).map(([alias, url]) => `${alias}=${url}`).join(','),
      RATE_LIMIT_PER_MINUTE: '0',
      ...settings
    }
  })
  await log.close()
  const readLog = () => readFile(logPath, 'utf8')
  return {
    ...child,
    url: `http://127.0.0.1:${port}`,
    readLog,
    used: () => child.ask('used'),
    logged: text => until(async () => (await readLog()).includes(text), `the log says: ${text}`)
  }
}

/** Starts a part that takes requests and waits until it does. */
export async function startService (
  environment: Environment, options: ServiceOptions & { readonly command: 'start' | 'api' }
): Promise<ServiceProcess & { readonly caller: Caller }> {
  const service = await launchService(environment, options)
  const caller = createCaller(service.url)
  environment.onClose(caller.close)
  await until(async () => {
    if (!service.isRunning()) throw new Error(`the service ended at once: ${await service.readLog()}`)
    const health = await caller.get('/health').catch(() => null)
    return health !== null && (options.command === 'api' || areOnline(Object.keys(options.servers), health))
  }, 'the service is up')
  return { ...service, caller }
}

function areOnline (aliases: readonly string[], health: unknown): boolean {
  const { a1111_status: statuses } = health as { a1111_status: Readonly<Record<string, string>> }
  return aliases.every(alias => statuses[alias] === 'online')
}
