import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../src/redis/private/server.ts'
import type { Environment } from './environment.ts'
import { until } from './until.ts'

/** A program in a process of its own, and what it uses. Linux only, proc(5). */
export interface Program {
  /** User and system time so far, in milliseconds. */
  processorTime (): Promise<number>
  /** In bytes. */
  residentMemory (): Promise<number>
  stop (): Promise<void>
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
let checkout = root

/** From now on, the program of this checkout is measured; of the one that the bench belongs to, if it is left out. */
export function measureCheckout (folder = root): void {
  checkout = folder
}

/** The program as `npm start` runs it: from its bundle, with its compiled code and its limits of memory. */
export const program = (): string => join(checkout, 'src/launch.mjs')

/** The product as `npm start` starts it; resolves once it is ready. */
export async function startProduct (environment: Environment, servers: readonly string[]): Promise<Program> {
  const port = await findFreePort()
  const product = await start(environment, [program(), 'start'], {
    HOST: '127.0.0.1',
    PORT: String(port),
    DATA_DIR: environment.folder,
    REDIS_URL: environment.redisUrl,
    SIMULATOR: 'off',
    SERVERS: servers.map((url, index) => `Server${index}=${url}`).join(',')
  })
  await until(async () => await fetch(`http://127.0.0.1:${port}/ready`).then(({ ok }) => ok, () => false), 'it is ready')
  return product
}

/** A Fastify server with one route. */
export async function startBareServer (environment: Environment): Promise<Program> {
  const port = await findFreePort()
  const source = `
    import Fastify from 'fastify'
    const app = Fastify()
    app.get('/ready', async () => 'ready')
    await app.listen({ host: '127.0.0.1', port: ${port} })`
  const program = await start(environment, ['--input-type=module', '--eval', source], {})
  await until(async () => await fetch(`http://127.0.0.1:${port}/ready`).then(({ ok }) => ok, () => false), 'it is ready')
  return program
}

/** User and system time of a process so far, in milliseconds. */
export async function processorTimeOf (pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  // In ticks of a hundredth of a second.
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Resident memory of a process, in bytes. */
export async function residentMemoryOf (pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

async function start (
  environment: Environment, parameters: readonly string[], settings: Readonly<Record<string, string>>
): Promise<Program> {
  const log = await open(join(environment.folder, 'program.log'), 'a')
  const child = spawn(process.execPath, [...parameters], {
    cwd: root, env: { PATH: process.env.PATH, ...settings }, stdio: ['ignore', log.fd, log.fd]
  })
  await log.close()
  async function stop (): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill()
    await ended
  }
  environment.onClose(stop)
  return {
    processorTime: () => processorTimeOf(child.pid ?? 0),
    residentMemory: () => residentMemoryOf(child.pid ?? 0),
    stop
  }
}
