import { createCaller, type Caller } from './caller.ts'
import { startChild } from './child.ts'
import { type Environment, withEnvironment } from './environment.ts'
import type { FleetGeneration, FleetServer, FleetTimes } from './fleet-process.ts'
import { launchService, type ServiceProcess, startService } from './service.ts'
import { until } from './until.ts'

/** A job of a trace. */
export interface FleetJob {
  readonly steps: number
  readonly checkpoint: string
  /** Name of the access key that submits it; none for a caller without a key. */
  readonly share?: string
  readonly priority?: number
  /** Alias of the server that alone can run it. */
  readonly server?: string
}

/** An accepted job. */
export interface AcceptedJob extends FleetJob {
  readonly id: string
  /** When its answer was there, in milliseconds since the epoch. */
  readonly acceptedAt: number
}

/** The service in front of several servers with constant times, which record the truth. */
export interface Fleet {
  readonly environment: Environment
  readonly caller: Caller
  readonly times: FleetTimes
  readonly servers: readonly FleetServer[]
  /** One after the other, so that they arrive in this order. */
  submit (jobs: readonly FleetJob[]): Promise<AcceptedJob[]>
  /** Adds the server to the service too, and waits until it has been seen. */
  join (server: FleetServer): Promise<void>
  /** Its process is gone for good. */
  die (alias: string): Promise<void>
  pause (aliases: readonly string[]): Promise<void>
  resume (aliases: readonly string[]): Promise<void>
  /** Generations since `forget`, in the order of their begins. */
  ran (): Promise<FleetGeneration[]>
  forget (): Promise<void>
  unfinished (): Promise<number>
  /** Until no job waits or runs. */
  finished (): Promise<void>
  /** Stops the service in order. */
  stop (): Promise<void>
  /** Starts it again, at another address; does not wait until it is up. */
  launch (): Promise<void>
}

export interface FleetOptions {
  readonly servers: readonly FleetServer[]
  readonly times: FleetTimes
  /** Names of access keys to create. */
  readonly shares?: readonly string[]
}

/** The longest time that a trace can take, in milliseconds. */
const patience = 600_000

/** Milliseconds of a generation at speed 1: encoding the prompt takes as long as a step. */
export function generationTime ({ steps }: Pick<FleetJob, 'steps'>, { step }: FleetTimes): number {
  return (steps + 1) * step
}

export async function withFleet<Outcome> (
  { servers, times, shares = [] }: FleetOptions, work: (fleet: Fleet) => Promise<Outcome>
): Promise<Outcome> {
  return await withEnvironment(async environment => {
    const child = startFleetProcess(environment)
    const add = async (server: FleetServer) => await child.ask<string>('add', { ...server, ...times })
    const urls: Record<string, string> = {}
    for (const server of servers) urls[server.alias] = await add(server)
    const options = {
      command: 'start', servers: urls, settings: { QUEUE_LIMIT_PER_KEY: '1000000' }
    } as const
    const service = await startService(environment, options)
    const { caller } = service
    let running: ServiceProcess = service
    for (const alias of Object.keys(urls)) await keepSelection(caller, alias)
    const callers = await createKeys(environment, caller, service.url, shares)
    const everywhere = async (aliases: readonly string[], action: string) => {
      await Promise.all(aliases.map(async alias => await caller.post(`/api/v1/servers/${alias}/${action}`)))
    }
    const count = async (status: string) =>
      (await caller.get(`/api/v2/jobs?status=${status}&limit=1`) as { total: number }).total
    const unfinished = async () => await count('pending') + await count('processing')

    return await work({
      environment,
      caller,
      times,
      servers,
      async submit (jobs) {
        const accepted: AcceptedJob[] = []
        for (const job of jobs) {
          const { id } = await (callers.get(job.share ?? '') ?? caller).post('/api/v2/generate', bodyOf(job)) as { id: string }
          accepted.push({ ...job, id, acceptedAt: Date.now() })
        }
        return accepted
      },
      async join (server) {
        await caller.post('/api/v1/servers', { alias: server.alias, apiUrl: await add(server), restore_selection: 'never' })
        await until(async () => {
          const { health } = await caller.get(`/api/v1/servers/${server.alias}`) as { health: string }
          return health === 'online' || health === 'busy'
        }, `${server.alias} has been seen`)
      },
      die: alias => child.ask('die', alias),
      pause: aliases => everywhere(aliases, 'pause'),
      resume: aliases => everywhere(aliases, 'resume'),
      ran: () => child.ask('ran'),
      forget: () => child.ask('forget'),
      unfinished,
      finished: () => until(async () => await unfinished() === 0, 'all jobs have ended', patience),
      stop: () => running.stop(),
      async launch () { running = await launchService(environment, options) }
    })
  })
}

const startFleetProcess = (environment: Environment) =>
  startChild(environment, new URL('./fleet-process.js', import.meta.url), [])

/** Servers without a service in front; their addresses by alias. */
export async function startFleetServers (
  environment: Environment, servers: readonly FleetServer[], times: FleetTimes
): Promise<Record<string, string>> {
  const child = startFleetProcess(environment)
  const urls: Record<string, string> = {}
  for (const server of servers) urls[server.alias] = await child.ask<string>('add', { ...server, ...times })
  return urls
}

/** The service then loads no checkpoint at the server other than those of jobs. */
async function keepSelection (caller: Caller, alias: string): Promise<void> {
  await caller.put(`/api/v1/servers/${alias}`, { restore_selection: 'never' })
}

async function createKeys (
  environment: Environment, caller: Caller, url: string, names: readonly string[]
): Promise<Map<string, Caller>> {
  const callers = new Map<string, Caller>()
  for (const name of names) {
    const { key, secret } = await caller.post('/api/v1/api-keys', { name }) as { key: string, secret: string }
    const own = createCaller(url, { 'x-api-key': key, 'x-api-secret': secret })
    environment.onClose(own.close)
    callers.set(name, own)
  }
  return callers
}

function bodyOf ({ steps, checkpoint, priority = 5, server = 'default' }: FleetJob): Record<string, unknown> {
  return {
    target_server_alias: server,
    priority,
    generation_params: {
      prompt: 'a lighthouse at dusk', width: 64, height: 64, steps, sampler_name: 'Euler', checkpoint_name: checkpoint
    }
  }
}
