import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import { createServer as createTcpServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import t from 'tap'
import { createA1111Client, type A1111Client } from '../../src/a1111/client.ts'
import { GenerationFailure } from '../../src/a1111/types.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { createServerReach } from '../../src/servers/address.ts'
import { createServerStarts } from '../../src/servers/start-guard.ts'
import { createLocalStartNotes, createStartNotes, withLocalNotes, type StartNotes } from '../../src/servers/start-notes.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { freePort } from '../support/free-port.ts'

const waitMs = 800

/** An address at which a server listens only on request. */
interface Listener {
  readonly url: string
  readonly requests: string[]
  connections (): number
  open (answer?: (request: IncomingMessage) => number): Promise<void>
  close (): Promise<void>
}

async function createListener (): Promise<Listener> {
  const requests: string[] = []
  let server: HttpServer | null = null
  let connections = 0
  const port = await freePort()

  async function open (answer: (request: IncomingMessage) => number = () => 200): Promise<void> {
    server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`)
      const status = answer(request)
      if (status === 0) request.socket.destroy()
      else response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
    })
    server.on('connection', () => { connections += 1 })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }

  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    connections: () => connections,
    open,
    async close () {
      const closing = server
      server = null
      if (closing === null) return
      closing.closeAllConnections()
      await new Promise<void>(resolve => { closing.close(() => { resolve() }) })
    }
  }
}

/** One process of ours; `connects` counts what it opens. */
function createProcess (notes: StartNotes, wait = waitMs) {
  const reach = createServerReach([])
  let connects = 0
  const resolve: typeof reach.resolve = async destination => {
    connects += 1
    return await reach.resolve(destination)
  }
  const starts = createServerStarts({ notes, waitMs: wait, resolve, log: silentLogger })
  return {
    starts,
    connects: () => connects,
    client: (baseUrl: string, options: { readonly tlsVerify?: false } = {}): A1111Client => {
      const client = createA1111Client({ baseUrl, ...options }, { resolve, guard: starts })
      t.teardown(client.close)
      return client
    }
  }
}

async function ask (client: A1111Client, path = '/sdapi/v1/options'): Promise<string> {
  return await client.readJson(path).then(() => 'answered', (error: unknown) =>
    error instanceof GenerationFailure ? error.code : String(error))
}

/** Repeats the request until the answer changes; returns the new answer, and after how long. */
async function askUntil (client: A1111Client, ...codes: string[]): Promise<{ code: string, took: number }> {
  const begin = performance.now()
  for (;;) {
    const code = await ask(client)
    if (codes.includes(code)) return { code, took: performance.now() - begin }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

t.test('a server that accepts the very first connection gets requests at once', async t => {
  const server = await createListener()
  await server.open()
  t.teardown(server.close)
  const { client } = createProcess(createLocalStartNotes())
  t.equal(await ask(client(server.url)), 'answered')
})

t.test('a server that has refused gets only connections, and requests once it has accepted them for long enough', async t => {
  const server = await createListener()
  t.teardown(server.close)
  const { client, connects } = createProcess(createLocalStartNotes())
  const asking = client(server.url)
  const begin = performance.now()
  t.equal(await ask(asking), 'connection_refused')
  for (let round = 0; round < 200; round++) t.equal(await ask(asking), 'connection_refused')
  t.ok(connects() <= 2 + (performance.now() - begin) / (waitMs * 0.9), `${connects()} connections for 201 requests`)
  await server.open()
  const failure = await untilStarting(asking)
  t.match(failure, { failureClass: 'server-down', mayBeRunning: false })
  t.ok((failure.retryAfterMs ?? Infinity) <= waitMs)
  t.same(server.requests, [])
  t.match(await askUntil(asking, 'answered'), { code: 'answered' })
  t.ok(server.connections() > 1, 'it was connected to before')
})

async function untilStarting (client: A1111Client): Promise<GenerationFailure> {
  for (;;) {
    const failure = await client.readJson('/sdapi/v1/options').then(() => null, (error: unknown) => error)
    if (failure instanceof GenerationFailure && failure.code === 'server_starting') return failure
    if (failure === null) throw new Error('it was asked')
  }
}

t.test('a server that dies again while it starts begins again', async t => {
  const server = await createListener()
  t.teardown(server.close)
  const { client } = createProcess(createLocalStartNotes())
  const asking = client(server.url)
  await ask(asking)
  await server.open()
  await untilStarting(asking)
  await server.close()
  await askUntil(asking, 'connection_refused')
  await server.open()
  const { took } = await askUntil(asking, 'answered')
  t.ok(took >= waitMs * 0.9, `${took} ms`)
})

t.test('a lost connection counts as a refusal, although the next is accepted', async t => {
  const server = await createListener()
  await server.open(({ url }) => url === '/lost' ? 0 : 200)
  t.teardown(server.close)
  const { client } = createProcess(createLocalStartNotes())
  const asking = client(server.url)
  t.equal(await ask(asking), 'answered')
  t.equal(await ask(asking, '/lost'), 'connection_lost')
  server.requests.length = 0
  t.equal(await ask(asking), 'server_starting')
  t.same(server.requests, [])
  const { took } = await askUntil(asking, 'answered')
  t.ok(took > waitMs / 2)
})

t.test('all processes share this knowledge, and together connect no more often than one', async t => {
  const redisServer = await startTestRedis()
  t.teardown(redisServer.stop)
  const redis = new Redis(redisServer.url)
  t.teardown(() => { redis.disconnect() })
  const notes = () => withLocalNotes(createStartNotes(redis, createKeys('sq')), 1000)
  const server = await createListener()
  t.teardown(server.close)
  const processes = Array.from({ length: 5 }, () => createProcess(notes(), 1000))
  const clients = processes.map(({ client }) => client(server.url))
  const [first] = clients
  if (first === undefined) return
  t.equal(await ask(first), 'connection_refused')
  await server.open()
  const begin = performance.now()
  let answered = 0
  await Promise.all(clients.map(async client => {
    const { took } = await askUntil(client, 'answered')
    t.ok(took >= 900, `${took} ms`)
    answered += 1
  }))
  t.equal(answered, 5)
  const seconds = (performance.now() - begin) / 1000
  const bare = server.connections() - 5
  t.ok(bare <= seconds / 0.9 + 1, `${bare} connections without a request in ${seconds} s`)
  t.equal(await ask(createProcess(notes(), 1000).client(server.url)), 'answered', 'and one that has just begun, too')
  await server.close()
  await askUntil(first, 'connection_refused')
  await server.open()
  server.requests.length = 0
  const late = createProcess(notes(), 1000).client(server.url)
  t.not(await ask(late), 'answered', 'one that begins meanwhile')
  t.same(server.requests, [])
})

t.test('without Redis each process uses its own observations', async t => {
  const gone = new Redis('redis://127.0.0.1:1', { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null })
  gone.on('error', () => {})
  const hanging: StartNotes = createStartNotes(gone, createKeys('sq'))
  const server = await createListener()
  t.teardown(server.close)
  const { client } = createProcess(withLocalNotes(hanging, 20))
  const asking = client(server.url)
  t.equal(await ask(asking), 'connection_refused')
  await server.open()
  await untilStarting(asking)
  t.same(server.requests, [])
  t.match(await askUntil(asking, 'answered'), { code: 'answered' })
})

t.test('a proxy that accepts connections without a server behind it does not count as a server', async t => {
  const server = await createListener()
  t.teardown(server.close)
  const target = Number(new URL(server.url).port)
  const forwarder: Server = createTcpServer((socket: Socket) => {
    const onward = connect(target, '127.0.0.1')
    for (const [from, to] of [[socket, onward], [onward, socket]] as const) {
      from.on('error', () => {}).on('close', () => { to.destroy() }).pipe(to)
    }
  }).listen(0, '127.0.0.1')
  await once(forwarder, 'listening')
  t.teardown(() => { forwarder.close() })
  const { client } = createProcess(createLocalStartNotes())
  const asking = client(`http://127.0.0.1:${(forwarder.address() as AddressInfo).port}`)
  await server.open()
  t.equal(await ask(asking), 'answered')
  await server.close()
  t.equal(await ask(asking), 'connection_lost')
  server.requests.length = 0
  for (let round = 0; round < 20; round++) t.not(await ask(asking), 'server_starting')
  await server.open()
  await untilStarting(asking)
  t.same(server.requests, [])
  t.match(await askUntil(asking, 'answered'), { code: 'answered' })
})

t.test('behind a proxy that says that its server is away, there is one request per interval', async t => {
  let status = 200
  const proxy = await createListener()
  await proxy.open(() => status)
  t.teardown(proxy.close)
  const { client } = createProcess(createLocalStartNotes(), 300)
  const asking = client(proxy.url)
  t.equal(await ask(asking), 'answered')
  status = 502
  await new Promise(resolve => setTimeout(resolve, 210))
  t.equal(await ask(asking), 'bad_gateway')
  t.match(await asking.postJson('/sdapi/v1/interrupt', {}).catch((error: unknown) => error), { code: 'bad_gateway' })
  proxy.requests.length = 0
  const begin = performance.now()
  for (let round = 0; round < 50; round++) t.equal(await ask(asking), 'bad_gateway')
  t.ok(proxy.requests.length <= 2 + (performance.now() - begin) / 300, `${proxy.requests.length} requests`)
  status = 404
  await askUntil(asking, 'route_missing')
  proxy.requests.length = 0
  t.equal(await ask(asking), 'server_starting', 'it answers, and its API is not there')
  t.same(proxy.requests, [])
  status = 200
  t.match(await askUntil(asking, 'answered'), { code: 'answered' })
})

t.test('one request without an answer from a proxy does not block others', async t => {
  const proxy = await createListener()
  await proxy.open(({ url }) => url === '/heavy' ? 502 : 200)
  t.teardown(proxy.close)
  const { client } = createProcess(createLocalStartNotes(), 10_000)
  const asking = client(proxy.url)
  t.equal(await ask(asking, '/heavy'), 'bad_gateway')
  t.equal(await ask(asking), 'answered')
  t.match(await asking.postJson('/sdapi/v1/interrupt', {}), {})
})

t.test('an https address gets a connection without a handshake', async t => {
  const heard: Buffer[] = []
  const port = await freePort()
  const { client } = createProcess(createLocalStartNotes(), 5000)
  const asking = client(`https://127.0.0.1:${port}`, { tlsVerify: false })
  t.equal(await ask(asking), 'connection_refused')
  const server = createTcpServer(socket => {
    socket.on('error', () => {}).on('data', chunk => { heard.push(chunk) })
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  await untilStarting(asking)
  t.same(heard, [])
})

t.test('watchers of a server learn at once that it went away, and idle connections are ignored', async t => {
  // A watched connection keeps no process running.
  const running = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(running) })
  const server = await createListener()
  await server.open()
  const { starts, client } = createProcess(createLocalStartNotes())
  const asking = client(server.url)
  let gone = 0
  const refused = new Promise<void>(resolve => {
    t.teardown(starts.watch(new URL(server.url), () => {
      gone += 1
      resolve()
    }))
  })
  t.equal(await ask(asking), 'answered')
  await server.close()
  await refused
  await server.open()
  t.teardown(server.close)
  server.requests.length = 0
  t.not(await ask(asking), 'answered')
  t.same(server.requests, [])

  const impatient = createTcpServer(socket => { socket.on('error', () => {}).destroy() }).listen(0, '127.0.0.1')
  await once(impatient, 'listening')
  let taken = 0
  const twice = new Promise<void>(resolve => {
    impatient.on('connection', () => {
      taken += 1
      if (taken === 2) resolve()
    })
  })
  const stop = starts.watch(new URL(`http://127.0.0.1:${(impatient.address() as AddressInfo).port}`), () => { gone += 1 })
  await twice
  await new Promise(resolve => setTimeout(resolve, 50))
  t.same([taken, gone], [2, 1])
  stop()
  impatient.close()
})
