import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { pino, type Logger } from 'pino'
import type { Test } from 'tap'
import { Agent, interceptors, request as sendRequest, type Dispatcher } from 'undici'
import { createApp, type AppOptions } from '../src/main/app.ts'
import { parseSettings } from '../src/config/parse.ts'
import { sourcesOf } from '../src/config/sources.ts'
import type { Job } from '../src/jobs/job.ts'
import type { CheckLimits } from '../src/server-check/session.ts'
import { openServices, type Services } from '../src/services/services.ts'
import { registerAs } from '../src/servers/discover.ts'
import { startSimulator, type Simulator, type SimulatorOptions } from '../src/simulator/simulator.ts'
import { startWorker, type Worker } from '../src/main/worker.ts'
import { startTestRedis, type TestRedis } from './redis.ts'

type Teardown = Pick<Test, 'teardown'>

export interface ServiceOptions {
  /** A Redis to share; by default one of its own. */
  readonly redis?: TestRedis
  /** Settings that differ from the tests' defaults. */
  readonly settings?: Readonly<Record<string, string>>
  /** Servers by alias; by default one simulator named Main. */
  readonly servers?: Readonly<Record<string, string>>
  readonly simulator?: SimulatorOptions
  /** Replaces the time between two blanks of an answer that waits. */
  readonly pause?: AppOptions['pause']
  /** By default without output. */
  readonly logger?: Logger
  readonly checkLimits?: CheckLimits
  /** `none` leaves the jobs waiting. */
  readonly worker?: 'own' | 'none'
}

/** The whole service for a test: over real HTTP, on a real Redis, with a simulated server. */
export interface Service {
  readonly url: string
  readonly app: FastifyInstance
  readonly services: Services
  readonly redis: TestRedis
  readonly simulator: Simulator
  readonly dataDirectory: string
  /** Undefined if the test has servers of its own. */
  readonly worker: Worker | undefined
  /** Sends a request from loopback, without a browser's headers. */
  request (method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** Submits a job and returns its id. */
  submit (parameters: Readonly<Record<string, unknown>>, more?: Readonly<Record<string, unknown>>): Promise<string>
  /** Resolves with the job when it has one of these statuses. @throws Error if it has ended and stays in another */
  until (jobId: string, ...statuses: string[]): Promise<JobBody>
  job (jobId: string): Promise<JobBody>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: JsonBody
}

/** The fields that tests read from answers; their assertions check the shape. */
export interface JsonBody { readonly [name: string]: unknown }
export type JobBody = JsonBody & {
  readonly id: string
  readonly status: string
  readonly images: ReadonlyArray<{
    filename: string, url: string, seed: number, width: number, height: number, role: string
  }>
  readonly error: { code: string, message: string } | null
  readonly attempts: ReadonlyArray<{ code: string, server: string }>
}

/** A small image in few steps. */
export const quick = { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 } as const

export const fast: SimulatorOptions = { stepMilliseconds: 2, loadMilliseconds: 0 }

/**
 * Short intervals between checks of servers, so that no test waits for one. A check notices a new list of checkpoints;
 * reading all lists each second took half of the CPU of a service without work.
 */
const testIntervals = { whileUp: 1000, whileDown: 50, inventory: 5000 }

/** Tests send nothing large, and abandon a blocked check soon. */
export const testCheckLimits = { waitMs: 3000, generationMs: 60_000, lookMs: 5, largestBody: 2 * 1024 * 1024 }

export const silentLogger = pino({ level: 'silent' })

export async function startService (t: Teardown, options: ServiceOptions = {}): Promise<Service> {
  countService()
  const logger = options.logger ?? silentLogger
  const redis = options.redis ?? await startTestRedis()
  if (options.redis === undefined) t.teardown(redis.stop)
  const simulator = await startSimulator({ ...fast, ...options.simulator })
  t.teardown(simulator.close)
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sq-data-'))
  t.teardown(() => rm(dataDirectory, { recursive: true, force: true }))
  const config = parseSettings({
    PORT: '0',
    DATA_DIR: dataDirectory,
    LOG_LEVEL: 'silent',
    RETRY_BACKOFF_SECONDS: '0.05',
    SERVER_START_SECONDS: '0.05',
    ...options.settings
  })
  const services = await openServices(config, redis.url, logger, sourcesOf({ environment: options.settings ?? {} }))
  t.teardown(services.close)
  for (const [alias, baseUrl] of Object.entries(options.servers ?? { Main: simulator.url })) {
    await registerAs(services.registry, alias, { baseUrl }, 'user')
  }
  const worker = options.worker === 'none' ? undefined : await startWorker(services, testIntervals, options.checkLimits ?? testCheckLimits)
  if (worker !== undefined) t.teardown(worker.close)
  const app = await createApp({
    services,
    logger,
    tokens: [config.AUTH_TOKEN].filter(Boolean),
    ...(options.pause === undefined ? {} : { pause: options.pause })
  })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const notices = openNotices(services)
  t.teardown(notices.close)
  const service = {
    url, app, services, redis, simulator, dataDirectory, worker, ...client(url, services, notices.until)
  }
  if (worker !== undefined) await serversSeen(services)
  return service
}

/** For `npm test -- --account`. */
function countService (): void {
  const counts = Reflect.get(globalThis, Symbol.for('stablequeue.account')) as { services: number } | undefined
  if (counts !== undefined) counts.services++
}

/** The time after which an ended job changes no more, in milliseconds. */
const missedAfter = 30_000
const isEnd = (status: string) => ['completed', 'failed', 'cancelled'].includes(status)

/** Follows redirects as `fetch` does, whose streams and decompression take as much CPU as most answers. */
const dispatcher = new Agent().compose(interceptors.redirect({ maxRedirections: 20 }))

/** Sends requests to a service, and waits for its jobs; by default over a connection for each wait. */
export function client (
  url: string, services: Noticed,
  onNotice: ReturnType<typeof openNotices>['until'] = async (find, matters) => await onNotices(services, find, matters)
) {
  async function request (
    method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}
  ): Promise<Answer> {
    const { statusCode, headers: received, body: answer } = await sendRequest(url + path, {
      dispatcher,
      method: method as Dispatcher.HttpMethod,
      headers: { accept: '*/*', ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined || typeof body === 'string' ? body ?? null : JSON.stringify(body)
    })
    const text = await answer.text()
    const answered = headersOf(received)
    const json = /json/.test(answered.get('content-type') ?? '') && text !== ''
    return { status: statusCode, headers: answered, body: (json ? JSON.parse(text) : { text }) as JsonBody }
  }

  async function job (jobId: string): Promise<JobBody> {
    return (await request('GET', `/api/v2/jobs/${jobId}`)).body.job as JobBody
  }

  return {
    request,
    job,
    async submit (parameters: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) {
      const { status, body } = await request('POST', '/api/v2/generate', {
        target_server_alias: 'default', generation_params: parameters, ...more
      })
      if (status !== 202) throw new Error(`not accepted: ${status} ${JSON.stringify(body)}`)
      return String(body.job_id)
    },
    async until (jobId: string, ...statuses: string[]): Promise<JobBody> {
      let endedAt = Infinity
      return await onNotice(async () => {
        const { status, body } = await request('GET', `/api/v2/jobs/${jobId}`)
        // Redis is away.
        if (status === 503) return undefined
        if (status !== 200) throw new Error(`no job: ${status} ${JSON.stringify(body)}`)
        const found = body.job as JobBody
        if (statuses.includes(found.status)) return found
        // A busy machine can miss a short generation, and would then wait until the file's time is over.
        endedAt = isEnd(found.status) ? Math.min(endedAt, performance.now()) : Infinity
        if (performance.now() - endedAt < missedAfter) return undefined
        throw new Error(`${jobId} is ${found.status} and was to become ${statuses.join(' or ')}`)
      }, message => changesStatus(message, jobId))
    }
  }
}

function headersOf (received: Dispatcher.ResponseData['headers']): Headers {
  return new Headers(Object.entries(received).flatMap(([name, value]) =>
    [value ?? []].flat().map((text): [string, string] => [name, text])))
}

/** The part of a service by which tests wait for its notices about jobs. */
type Noticed = Pick<Services, 'redisUrl' | 'keys'>

/** Waits for the notices of a service over one connection, which the first wait opens. */
function openNotices ({ redisUrl, keys }: Noticed) {
  const listeners = new Set<(message: string) => void>()
  let subscriber: Redis | undefined
  let subscribed: Promise<unknown> | undefined

  async function open (): Promise<void> {
    subscriber = new Redis(redisUrl, { maxRetriesPerRequest: null, enableReadyCheck: false, disableClientInfo: true })
    subscriber.on('message', (_channel, message) => { for (const listener of listeners) listener(message) }).on('error', () => {})
    await subscriber.subscribe(keys.channel('jobs'))
  }

  return {
    async until<Found> (
      find: () => Promise<Found | undefined>, matters: (message: string) => boolean = () => true
    ): Promise<Found> {
      let wake = () => {}
      const listener = (message: string) => { if (matters(message)) wake() }
      subscribed ??= open()
      await subscribed
      listeners.add(listener)
      try {
        for (;;) {
          const notice = new Promise<void>(resolve => { wake = resolve })
          const found = await find()
          if (found !== undefined) return found
          await Promise.race([notice, sleep(500)])
        }
      } finally {
        listeners.delete(listener)
      }
    },
    close () { subscriber?.disconnect() }
  }
}

/**
 * Retries after every notice that matters until there is an answer. Also retries twice a second, because some changes
 * follow their notice, and no notice arrives while Redis is away.
 */
export async function onNotices<Found> (
  services: Noticed, find: () => Promise<Found | undefined>, matters?: (message: string) => boolean
): Promise<Found> {
  const notices = openNotices(services)
  try {
    return await notices.until(find, matters)
  } finally {
    notices.close()
  }
}

/** Most notices are about other jobs, or about progress: asking after each of these took a third of a test's CPU. */
function changesStatus (message: string, jobId: string): boolean {
  const { job, kind } = JSON.parse(message) as { job: string, kind: string }
  return job === jobId && kind !== 'progress'
}

/** Resolves when every enabled server has been checked. */
async function serversSeen (services: Services): Promise<void> {
  const servers = services.registry.list().filter(({ enabled }) => enabled)
  while ((await services.states.readMany(servers.map(({ id }) => id))).some(state => state === null)) {
    await new Promise(resolve => { setTimeout(resolve, 10) })
  }
}

/** Claims the next job for a server, as the process that holds its lease does; the server can run every class. */
export async function claimNext ({ claims }: Pick<Services, 'claims'>, serverId: string, fence: number): Promise<Job | null> {
  for (;;) {
    const server = { id: serverId, loaded: '', default: '', title: '', loadSeconds: 1, speed: 1 }
    const answer = await claims.claim(server, fence, false)
    if (answer.kind === 'claimed') return answer.job
    if (answer.kind !== 'unknown') return null
    await claims.noteClasses(serverId, fence, new Map(answer.classes.map(({ id }) => [id, true])))
  }
}
