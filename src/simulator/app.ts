import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import {
  HttpException, ProcessDied, PythonError, renderA1111Error, renderForgeError, renderSdcppError, renderSdnextError
} from '../fastapi/errors.ts'
import { type Dialect, parseBody, readModel, readObject } from '../fastapi/model.ts'
import { pydantic1 } from '../fastapi/pydantic1.ts'
import { pydantic2 } from '../fastapi/pydantic2.ts'
import { stringifyKeepingFloats } from '../lib/exact-json.ts'
import { readFaults } from './faults/faults.ts'
import { profiles } from './flavors.ts'
import { changeByHand, runBrowserJob } from './generation/browser-job.ts'
import { serverRoutes } from './routes/all.ts'
import {
  type Answer, createAnswer, get, isAnswer, post, proxyPage, type Route, type RouteInput
} from './routes/route.ts'
import type { ServerProcess } from './server-process.ts'
import { isUnmounted } from './start.ts'

/**
 * The simulator's own routes: its identity, its records, and switches for every fault. They are in none of the server's
 * own lists.
 */
function adminRoutes (server: ServerProcess): Route[] {
  const { machine } = server
  const open = { access: 'open', runsIn: 'loop' } as const
  const writable = { ...open, body: 'object' } as const

  return [
    get('/simulator/about', () => ({
      simulator: true, flavor: machine.settings.flavor, version: profiles[machine.settings.flavor].version
    }), open),
    get('/simulator/state', () => ({
      simulator: true,
      ...machine.records.snapshot(),
      faults: machine.faults.list(),
      loadedCheckpoint: server.memory.loaded?.name ?? null,
      waiting: server.jobLock.waiting()
    }), open),
    post('/simulator/faults', ({ body }) => {
      machine.faults.set(refuseBadly(() => readFaults(body.faults)))
      return { faults: machine.faults.list() }
    }, writable),
    post('/simulator/reset', () => {
      machine.faults.set([])
      machine.records.reset()
      return {}
    }, open),
    post('/simulator/human', async ({ body }) => {
      const job = runBrowserJob(server, { steps: Number(body.steps ?? 20), prompt: String(body.prompt ?? 'a human job') })
      if (body.wait === true) return { task: job.taskId, ...await job.done }
      job.done.catch(() => undefined)
      return { task: job.taskId }
    }, writable),
    // as in the browser: settings are saved, whatever the API allows
    post('/simulator/options', async ({ body }) => {
      await changeByHand(server, body)
      return { saved: [...machine.disk.config.keys()] }
    }, writable),
    post('/simulator/crash', ({ body }) => die(server, body), writable),
    post('/simulator/restart', ({ body }) => {
      if (Array.isArray(body.checkpoints)) machine.disk.checkpoints = body.checkpoints.map(String)
      if (body.auth !== undefined) machine.auth = body.auth === null ? null : String(body.auth)
      const times = ['bareMilliseconds', 'mountMilliseconds'] as const
      for (const name of times) if (body[name] !== undefined) machine.start[name] = Number(body[name])
      if (body.freshConfig === true) machine.disk.config.clear()
      return die(server, body)
    }, writable),
    // as if files were copied into the folder: seen after a refresh
    post('/simulator/checkpoints', ({ body }) => {
      if (Array.isArray(body.checkpoints)) machine.disk.checkpoints = body.checkpoints.map(String)
      return { checkpoints: machine.disk.checkpoints }
    }, writable),
    post('/simulator/loras', ({ body }) => {
      if (Array.isArray(body.loras)) machine.disk.loras = body.loras.map(String)
      return { loras: machine.disk.loras }
    }, writable),
    post('/simulator/auth', ({ body }) => {
      machine.auth = body.auth == null ? null : String(body.auth)
      return {}
    }, writable)
  ]
}

/** Answers first and dies right after, so that the client knows that it worked. */
function die (server: ServerProcess, body: RouteInput['body']): Record<string, unknown> {
  const refuseMilliseconds = Number(body.refuseMilliseconds ?? 1000)
  setTimeout(() => { server.die(refuseMilliseconds) }, 5)
  return { refuseMilliseconds }
}

function refuseBadly<Result> (read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw new HttpException(422, error instanceof Error ? error.message : String(error))
  }
}

/**
 * A1111's --api-auth: Basic only, one or more `user:password` pairs separated by commas.
 *
 * @throws HttpException 401 in one of its three wordings
 */
function checkAuth (auth: string | null, header: string | undefined): void {
  if (auth === null) return
  const match = /^basic(?:\s+(\S.*))?$/i.exec(header?.trim() ?? '')
  if (match === null) throw new HttpException(401, 'Not authenticated')
  const pair = Buffer.from(match[1] ?? '', 'base64').toString('latin1')
  if (!pair.includes(':')) throw new HttpException(401, 'Invalid authentication credentials')
  if (!auth.split(',').includes(pair)) throw new HttpException(401, 'Incorrect username or password')
}

/**
 * FastAPI's own documents: they list the server's routes and nothing of the simulator's. The list is built at the first
 * request and stays so: an early request hides routes that are mounted later.
 */
function documentRoutes (routes: readonly Route[], { start }: Pick<ServerProcess, 'start'>): Route[] {
  const open = { access: 'open', runsIn: 'loop' } as const
  let paths: Record<string, Record<string, unknown>> | undefined

  function list (): Record<string, Record<string, unknown>> {
    const listed: Record<string, Record<string, unknown>> = {}
    for (const route of routes.filter(({ path }) => !isUnmounted(start.phase(), path))) {
      listed[route.path] = {
        ...listed[route.path],
        [route.method.toLowerCase()]: { responses: { 200: { description: 'Successful Response' } } }
      }
    }
    return listed
  }

  return [
    get('/openapi.json', () => {
      paths ??= list()
      return { openapi: '3.0.2', info: { title: 'FastAPI', version: '0.1.0' }, paths }
    }, open),
    get('/docs', () => createAnswer(200, 'text/html; charset=utf-8', '<!doctype html><title>FastAPI - Swagger UI</title>'), open)
  ]
}

const compress = promisify(gzip)

/** Forge reads its embeddings when it has the arguments of its scripts. */
const withoutEmbeddings = "'Api' object has no attribute 'embedding_db'"

/** A1111 compresses answers from this size on, in bytes. */
const compressFrom = 1000

/** Keep-alive of gradio's uvicorn, and of --nowebui, in milliseconds. */
const keepAlive = { interface: 5000, bare: 30_000 } as const

/** The HTTP face of one server process; not listening yet. */
export function createApp (server: ServerProcess): FastifyInstance {
  const { settings, records } = server.machine
  const dialect = settings.family === 'forge' ? pydantic2 : pydantic1
  const app = fastify({
    logger: false,
    bodyLimit: 1024 ** 3,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    keepAliveTimeout: settings.internalProgress ? keepAlive.interface : keepAlive.bare,
    // uvicorn waits for a request on a new connection without a limit.
    http: { headersTimeout: 0, requestTimeout: 0 }
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })

  app.addHook('onRequest', async (request, reply) => {
    if (isOwn(request.url) || !server.start.isFragile()) return
    records.countStartDeath()
    server.die(Infinity)
    request.raw.socket.destroy()
    reply.hijack()
  })
  const limit = createRequestLimit(settings.requestsPerMinute)
  const ownRoutes = serverRoutes(server)
  const routes = [...ownRoutes, ...documentRoutes(ownRoutes, server), ...adminRoutes(server)]
  for (const route of routes) {
    app.route({
      method: route.method,
      url: route.path,
      handler: async (request, reply) => {
        records.countRequest(`${route.method} ${route.path}`)
        const front = answerInFront(server, route.method, route.path)
        if (front !== null) return await sendAnswer(begin(server, request, reply), front)
        const exchange = begin(server, request, reply)
        if (isOwn(route.path) || !limit.exceeds(route.path)) return await answer(server, dialect, route, exchange)
        const detail = `${request.ip}:${route.path}: rate limit exceeded`
        return await send(exchange, 429, renderSdnextError(new HttpException(429, detail)).body)
      }
    })
  }
  app.setNotFoundHandler(async (request, reply) => {
    const exchange = begin(server, request, reply)
    const path = request.url.split('?')[0] ?? ''
    const front = answerInFront(server, request.method, path)
    if (front !== null) return await sendAnswer(exchange, front)
    const allowed = routes.filter(route => route.path === path).map(route => route.method)
    if (allowed.length > 0) {
      records.countRequest(`${request.method} ${path}`)
      return await send(exchange, 405, { detail: 'Method Not Allowed' }, { allow: allowed.join(', ') })
    }
    const slashless = path.replace(/\/$/, '')
    if (path !== slashless && routes.some(route => route.path === slashless)) {
      return await reply.code(307).header('location', `http://${request.host}${slashless}`).send()
    }
    return await send(exchange, 404, { detail: 'Not Found' })
  })
  return app
}

/** Counts the requests of the last minute, by route. */
function createRequestLimit (most: number): { exceeds (path: string): boolean } {
  const moments = new Map<string, number[]>()
  return {
    exceeds (path) {
      if (most === Infinity || path.startsWith('/internal/')) return false
      const recent = (moments.get(path) ?? []).filter(timestamp => performance.now() - timestamp < 60_000)
      moments.set(path, [...recent, performance.now()])
      return recent.length >= most
    }
  }
}

/** The answer of a proxy in front, or of the server if a route of its kind is missing; null if neither does. */
function answerInFront (
  { machine: { faults, settings }, start }: ServerProcess, method: string, path: string
): Answer | null {
  if (isOwn(path)) return null
  if (faults.isAway()) return proxyPage(502)
  if (isUnmounted(start.phase(), path)) return jsonAnswer(404, { detail: 'Not Found' })
  if (path === '/sdapi/v1/embeddings' && settings.family === 'forge' && start.phase() === 'mounting') {
    return jsonAnswer(500, renderForgeError(new PythonError('AttributeError', withoutEmbeddings)).body)
  }
  const missing = faults.drawMissing(method, path)
  if (missing === undefined) return null
  const { status = 404, page = false } = missing
  const detail = status === 405 ? 'Method Not Allowed' : 'Not Found'
  return page ? proxyPage(status) : jsonAnswer(status, { detail })
}

/** Whether a route is for watchers of the simulator, in any state of the simulated process. */
function isOwn (path: string): boolean {
  return path.startsWith('/simulator/') && path !== '/simulator/about'
}

function jsonAnswer (status: number, value: unknown): Answer {
  return createAnswer(status, 'application/json', JSON.stringify(value))
}

interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** Milliseconds of `performance.now()` on arrival. */
  readonly arrivedAt: number
  /** Without it, X-Process-Time is left out. */
  isTimed: boolean
}

function begin (server: ServerProcess, request: FastifyRequest, reply: FastifyReply): Exchange {
  // uvicorn keeps connections alive without announcing for how long, but announces a close
  if (reply.raw.shouldKeepAlive) reply.raw.removeHeader('connection')
  if (server.machine.settings.family !== 'sdcpp') reply.header('server', 'uvicorn')
  return { request, reply, arrivedAt: performance.now(), isTimed: server.machine.settings.family === 'a1111' }
}

async function answer (server: ServerProcess, dialect: Dialect, route: Route, exchange: Exchange): Promise<unknown> {
  const { request, reply } = exchange
  const { flavor, family } = server.machine.settings
  try {
    const input = readInput(server, dialect, route, request)
    const work = async (): Promise<unknown> => await route.handle(input)
    const result = route.runsIn === 'pool' ? await server.threads.run(work) : await work()
    if (server.life.aborted) throw new ProcessDied()
    if (isAnswer(result)) return await sendAnswer(exchange, result)
    return await send(exchange, 200, result ?? null)
  } catch (error) {
    if (error instanceof ProcessDied) {
      request.raw.socket.destroy()
      return reply.hijack()
    }
    const render = flavor === 'sdnext'
      ? renderSdnextError
      : { a1111: renderA1111Error, forge: renderForgeError, sdcpp: renderSdcppError }[family]
    const { status, body, headers, isTimed } = render(error)
    exchange.isTimed &&= isTimed
    return await send(exchange, status, body, headers)
  }
}

/** FastAPI's order: the body must be JSON, then the client must be authorised, then the model must fit. */
function readInput (
  server: ServerProcess, dialect: Dialect, route: Route, request: FastifyRequest
): Parameters<Route['handle']>[0] {
  const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  const parsed = route.body === undefined ? {} : parseBody(dialect, bytes, request.headers['content-type'])
  if (route.access === 'guarded') checkAuth(server.machine.auth, request.headers.authorization)
  const query = route.query === undefined ? {} : readModel(dialect, route.query, request.query, 'query')
  const body = route.body === undefined ? {} : readBody(dialect, route.body, parsed)
  return { body, json: parsed, query, headers: request.headers }
}

function readBody (dialect: Dialect, model: NonNullable<Route['body']>, parsed: unknown): Record<string, unknown> {
  if (model === 'any') return {}
  if (model !== 'object') return readModel(dialect, model, parsed)
  return readObject(dialect, parsed)
}

async function sendAnswer (exchange: Exchange, result: Answer): Promise<unknown> {
  const { request, reply } = exchange
  if (typeof result.body !== 'string' && !Buffer.isBuffer(result.body)) {
    reply.code(result.status).headers(result.headers).type(result.contentType)
    return await reply.send(Readable.from(result.body))
  }
  if (result.delivery === 'cut') {
    const body = Buffer.from(result.body)
    reply.hijack()
    reply.raw.writeHead(result.status, { 'content-type': result.contentType, 'content-length': body.length })
    reply.raw.write(body.subarray(0, body.length / 2), () => { request.raw.socket.destroy() })
    return reply
  }
  reply.headers(result.headers).type(result.contentType)
  return await sendBytes(exchange, result.status, Buffer.from(result.body))
}

async function send (
  exchange: Exchange, status: number, value: unknown, headers: Readonly<Record<string, string>> = {}
): Promise<unknown> {
  exchange.reply.headers(headers).type('application/json')
  return await sendBytes(exchange, status, Buffer.from(stringifyKeepingFloats(value)))
}

async function sendBytes (exchange: Exchange, status: number, body: Buffer): Promise<unknown> {
  const { request, reply } = exchange
  reply.code(status)
  if (exchange.isTimed) reply.header('x-process-time', ((performance.now() - exchange.arrivedAt) / 1000).toFixed(4))
  const isCompressed = body.length >= compressFrom && /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
  if (!isCompressed) return await reply.send(body)
  return await reply.headers({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' }).send(await compress(body))
}
