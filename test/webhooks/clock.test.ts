import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { createWebhookQueue, createWebhookWorker } from '../../queues/webhooks.ts'
import { createEncryptor } from '../../src/access/secrets.ts'
import { createEgressGuard } from '../../src/egress/guard.ts'
import { parseSchedule } from '../../src/lib/retry-schedule.ts'
import { BucketError, storageError, type StorageFault } from '../../src/media/storage-fault.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { noTracing } from '../../src/telemetry/tracing.ts'
import { createDeliverer } from '../../src/webhooks/deliver.ts'
import { createDeliveries } from '../../src/webhooks/deliveries.ts'
import { createDeliveryService } from '../../src/webhooks/delivery-service.ts'
import type { Delivery } from '../../src/webhooks/delivery.ts'
import { createEndpoints } from '../../src/webhooks/endpoints.ts'
import { testDelivery } from '../../src/webhooks/outbox.ts'
import { createSigningKeys } from '../../src/webhooks/signing-keys.ts'
import { newMasterKey, openRedis } from '../access/door.ts'
import { silentLogger } from '../helper.ts'
import { freePort } from '../support/free-port.ts'
import { listen } from './receiver.ts'

/**
 * Queue, worker and records of deliveries under a clock that only the test changes, so that ten minutes or a day take
 * no time. The public library uses the real clock, so the test compares signatures with those that the library makes.
 */
const connections = await openRedis()
const redis = await connections.connect('worker')
const keys = connections.keySpace()
const masterKey = newMasterKey()
const encryptor = createEncryptor(masterKey)
const start = Date.now()
let clockTime = start
const now = () => clockTime

const signingKeys = createSigningKeys({ redis, keys, encryptor, masterKey, now })
const deliveries = createDeliveries(redis, keys, now)
const endpoints = createEndpoints(redis, keys, { perKey: 8, perEndpoint: 2, slotLifetime: 20_000 }, now)
const queue = createWebhookQueue({ connection: redis, keys, log: silentLogger })
/** The error of this machine's own network when it cannot connect. */
let ownFault: Error | null = null
/** Why this machine cannot read images. */
let storageFault: StorageFault | null = null
const guard = createEgressGuard({
  settings: { profile: 'lan', allow: [] },
  places: () => [],
  resolve: async host => {
    if (ownFault !== null) throw ownFault
    return await lookup(host, { all: true })
  }
})
const deliverer = createDeliverer({
  deliveries,
  endpoints,
  signingKeys,
  encryptor,
  guard,
  schedule: parseSchedule('5s,30s,5m,30m,2h,5h,10h,10h'),
  timeout: 600,
  readFile: async () => {
    if (storageFault !== null) throw storageError(storageFault, new BucketError(storageFault, null))
    return Buffer.from('bytes')
  },
  isOutdated: async () => false,
  userAgent: 'StableQueue/test',
  metrics: createMetrics(),
  tracing: noTracing,
  log: silentLogger,
  now,
  random: () => 0.5
})
const deliveryService = createDeliveryService({ deliveries, deliverer, queue, encryptor })
const worker = createWebhookWorker({ connection: redis, keys, deliverer, queue, concurrency: 20, log: silentLogger })
t.after(async () => {
  deliverer.stop()
  await worker.close(1000)
  await queue.close()
  redis.disconnect()
  await connections.close()
})

/** An event for this address, handed over as by the relay. Not a test event, because that has only one attempt. */
async function send (url: string, event: Partial<Pick<Delivery, 'body' | 'files'>> = {}): Promise<string> {
  const requested = { url, key: null, auth: 'signature', events: [], images: 'none', format: 'standard' } as const
  const delivery = { ...testDelivery({ requested, url: new URL(url), keyId: null, warnings: [] }, encryptor, clockTime), type: 'job.completed' as const, ...event }
  await deliveries.create(delivery)
  await queue.add({ id: delivery.id, round: 0 })
  return delivery.id
}

/** The delivery after this many attempts. */
async function after (attempts: number, id: string): Promise<Delivery> {
  for (;;) {
    const delivery = await deliveries.get(id)
    if (delivery.attempts >= attempts) return delivery
    await sleep(5)
  }
}

/** Moves the clock to the next attempt and notifies the queue. */
async function untilDue (id: string): Promise<void> {
  const { nextAt, round } = await deliveries.get(id)
  clockTime = nextAt ?? clockTime
  const entry = { id, round }
  while (!await (await queue.queue.getJob(round === 0 ? id : `${id}_${round}`))?.isDelayed()) await sleep(5)
  await queue.postpone(entry, 0)
}

/** Advances the clock until the delivery has ended; returns the seconds from its start to each attempt. */
async function playOut (id: string): Promise<{ delivery: Delivery, offsets: number[] }> {
  const { roundAt, attempts: before } = await deliveries.get(id)
  for (let count = before + 1; ; count++) {
    const delivery = await after(count, id)
    if (delivery.state !== 'pending') {
      const attempts = (await deliveries.attempts(id)).filter(({ startedAt }) => startedAt >= roundAt)
      return { delivery, offsets: attempts.map(({ startedAt }) => Math.round((startedAt - roundAt) / 1000)) }
    }
    await untilDue(id)
  }
}

interface Taken { readonly id: string, readonly timestamp: number, readonly signature: string, readonly body: Buffer }

/** Answers the n-th request as the test says. */
async function receive (respond: (count: number, response: Parameters<RequestListener>[1]) => void, port = 0) {
  const taken: Taken[] = []
  const server = createHttpServer((request, response) => {
    buffer(request).then(body => {
      const { headers } = request
      taken.push({ id: String(headers['webhook-id']), timestamp: Number(headers['webhook-timestamp']), signature: String(headers['webhook-signature']), body })
      respond(taken.length, response)
    }).catch(() => {})
  })
  if (port === 0) return { taken, url: `http://127.0.0.1:${await listen(t, server)}/` }
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { taken, url: `http://127.0.0.1:${port}/` }
}

const isGenuine = ({ id, timestamp, signature, body }: Taken) =>
  new Webhook(signingKeys.ownSecret).sign(id, new Date(timestamp * 1000), body) === signature

t.test('a receiver that is down for ten minutes gets its event at the next attempt', async t => {
  const port = await freePort()
  const began = clockTime
  const id = await send(`http://127.0.0.1:${port}/`)
  for (let attempts = 1; clockTime < began + 600_000; attempts++) {
    const { state, lastStatus, reason } = await after(attempts, id)
    t.match({ state, lastStatus, reason }, { state: 'pending', lastStatus: null })
    const [attempt] = (await deliveries.attempts(id)).slice(-1)
    t.match(attempt?.error, /ECONNREFUSED/)
    const { nextAt } = await deliveries.get(id)
    if ((nextAt ?? 0) >= began + 600_000) break
    await untilDue(id)
  }
  const { taken } = await receive((_count, response) => { response.writeHead(204).end() }, port)
  await untilDue(id)
  const { delivery, offsets } = await playOut(id)
  t.match(delivery, { state: 'delivered', attempts: 5 })
  t.same(offsets, [0, 5, 35, 335, 2135])
  t.equal(taken.length, 1)
  t.ok(taken.every(isGenuine))
})

t.test('deliveries to a receiver that stays down end after 27.5 hours, and can be sent again later', async t => {
  const { taken, url } = await receive((count, response) => { response.writeHead(count < 10 ? 500 : 200).end() })
  const id = await send(url)
  const { delivery, offsets } = await playOut(id)
  t.match(delivery, { state: 'failed', attempts: 9, reason: 'the receiver said 500' })
  t.same(offsets, [0, 5, 35, 335, 2135, 9335, 27_335, 63_335, 99_335])
  clockTime += 3_600_000
  await deliveryService.redeliver(delivery)
  t.match((await playOut(id)).delivery, { state: 'delivered', attempts: 10, round: 1 })
  t.ok(taken.every(isGenuine), 'with a fresh signature each time')
  t.equal(new Set(taken.map(({ timestamp }) => timestamp)).size, 10)
  t.equal(new Set(taken.map(({ body }) => body.toString())).size, 1)
})

t.test('a machine that cannot open connections uses no attempt, and does not blame the receiver', async t => {
  const { taken, url } = await receive((_count, response) => { response.writeHead(204).end() })
  const named = url.replace('127.0.0.1', 'localhost')
  for (const [code, syscall] of [['EMFILE', 'connect'], ['ENFILE', 'connect'], ['ENETDOWN', 'connect'], ['EBUSY', 'getaddrinfo']] as const) {
    ownFault = Object.assign(new Error(`${syscall} ${code}`), { code, syscall })
    const id = await send(named)
    while (!await (await queue.queue.getJob(id))?.isDelayed()) await sleep(5)
    const delivery = await deliveries.get(id)
    t.match(delivery, { state: 'pending', attempts: 0, failures: 0 }, code)
    t.same(await deliveries.attempts(id), [])
    t.match(await endpoints.get(delivery.endpoint), { failures: 0, state: 'ok' })
    const requested = { url: named, key: null, auth: 'signature', events: [], images: 'none', format: 'standard' } as const
    t.match(await deliveryService.test({ requested, url: new URL(named), keyId: null, warnings: [] }),
      { state: 'skipped', attempts: 0, reason: new RegExp(`this machine can open no connection \\(${code}\\)`) })
    ownFault = null
    await untilDue(id)
    t.match(await after(1, id), { state: 'delivered', attempts: 1 })
  }
  t.equal(taken.length, 4)
})

t.test('a machine that cannot read the images of an event sends no event without them, and uses no attempt', async t => {
  const { taken, url } = await receive((_count, response) => { response.writeHead(204).end() })
  storageFault = { errno: 'ETIMEDOUT', path: '', reason: 'the bucket does not answer in time' }
  const id = await send(url, { files: ['image.png'], body: '{"data":{"result":{"images":[{}]}}}' })
  while (!await (await queue.queue.getJob(id))?.isDelayed()) await sleep(5)
  t.match(await deliveries.get(id), { state: 'pending', attempts: 0, failures: 0 })
  storageFault = null
  await untilDue(id)
  t.match(await after(1, id), { state: 'delivered', attempts: 1 })
  t.match(JSON.parse(String(taken[0]?.body)), { data: { result: { images: [{ base64: Buffer.from('bytes').toString('base64') }] } } })
})

t.test('a receiver\'s Retry-After is respected', async t => {
  const { url } = await receive((count, response) => {
    if (count === 1) response.writeHead(429, { 'retry-after': '120' }).end()
    else if (count === 2) response.writeHead(503, { 'retry-after': new Date(clockTime + 3_600_000).toUTCString() }).end()
    else response.writeHead(200).end()
  })
  const { offsets, delivery } = await playOut(await send(url))
  t.equal(delivery.state, 'delivered')
  t.equal(offsets[1], 120)
  t.ok(Math.abs((offsets[2] ?? 0) - (120 + 3600)) <= 1, `${offsets[2]} seconds`)
})

t.test('a receiver that answers 410 gets one request, and one with circular redirects one per attempt', async t => {
  const gone = await receive((_count, response) => { response.writeHead(410).end() })
  t.match((await playOut(await send(gone.url))).delivery, { state: 'failed', attempts: 1, reason: /410/ })
  t.equal(gone.taken.length, 1)
  const circle = await receive((_count, response) => { response.writeHead(302, { location: '/' }).end() })
  t.match((await playOut(await send(circle.url))).delivery, { state: 'failed', attempts: 9, reason: /redirects are not followed/ })
  t.equal(circle.taken.length, 9)
})

t.test('whatever a receiver sends, its attempt ends in time and little of it is kept', async t => {
  const tcp = async (talk: (socket: Socket) => void) =>
    `http://127.0.0.1:${await listen(t, createServer(socket => { socket.once('data', () => { talk(socket) }) }))}/`
  const every = (socket: Socket, milliseconds: number, text: string) => {
    const timer = setInterval(() => { socket.write(text) }, milliseconds)
    socket.once('close', () => { clearInterval(timer) })
  }
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  const failing = {
    'never answers': await tcp(() => {}),
    'floods with 103': await tcp(socket => { every(socket, 1, 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(50)) }),
    'drips its headers': await tcp(socket => { socket.write('HTTP/1.1 200 OK\r\n'); every(socket, 50, 'x') })
  }
  const taking = {
    'never ends': (await receive((_count, response) => {
      const more = () => { while (!response.destroyed && response.write(Buffer.alloc(65_536, 'x'))); }
      response.writeHead(200).on('drain', more)
      more()
    })).url,
    'sends a bomb': (await receive((_count, response) => { response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb) })).url,
    stalls: await tcp(socket => { socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc') })
  }
  for (const [what, url] of Object.entries(failing)) {
    const id = await send(url)
    const { state, nextAt } = await after(1, id)
    t.match({ state, wait: (nextAt ?? 0) - clockTime }, { state: 'pending', wait: 5000 }, what)
    t.match(await deliveries.attempts(id), [{ status: null, error: 'no answer within 600 ms' }])
    await deliveryService.stop(await deliveries.get(id))
  }
  for (const [what, url] of Object.entries(taking)) {
    const id = await send(url)
    t.match(await after(1, id), { state: 'delivered', lastStatus: 200 }, what)
    const [attempt] = await deliveries.attempts(id)
    t.ok((attempt?.responseBody.length ?? Infinity) <= 4096, `${attempt?.responseBody.length} letters are kept`)
  }
})

t.test('hundreds of events to a black hole do not delay those to a good receiver', async t => {
  let inside = 0
  let maxInside = 0
  const hole = await receive((_count, response) => {
    maxInside = Math.max(maxInside, ++inside)
    response.on('close', () => { inside-- })
  })
  const arrived = new Set<string>()
  const good = await receive((_count, response) => { response.writeHead(204).end() })
  const ids: string[] = []
  for (let count = 0; count < 200; count++) {
    await send(hole.url)
    ids.push(await send(good.url))
  }
  while (arrived.size < ids.length) {
    for (const { id } of good.taken) arrived.add(id)
    await sleep(5)
  }
  t.same([...arrived].sort(), ids.sort())
  t.equal(good.taken.length, ids.length, 'each came once')
  t.ok(good.taken.every(isGenuine))
  t.equal(maxInside, 2)
  t.ok(hole.taken.length < 200, `${hole.taken.length} attempts were made at the hole meanwhile`)
  for (const delivery of await deliveries.readMany(ids)) t.match(delivery, { state: 'delivered', attempts: 1 })
})

t.end()
