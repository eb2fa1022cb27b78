import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createSecureContext, type TLSSocket } from 'node:tls'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import type { ImageSink } from '../../src/a1111/types.ts'
import { readBytes, requestBytes } from '../../src/lib/http/bytes.ts'
import { createHttpClient, type HttpClient, type HttpRequest } from '../../src/lib/http/client.ts'
import { pem } from '../servers/token-gate.ts'

const never = new AbortController().signal
const clients: ReadonlyArray<[string, () => HttpClient]> = [
  ['a connection of its own', () => createHttpClient({ connectTimeoutMs: 2000 })],
  ['kept connections', () => createHttpClient({ connectTimeoutMs: 2000, keep: { connections: 4, idleMs: 2000 } })]
]

async function listen (t: Test, server: Server): Promise<URL> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => { sockets.delete(socket) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}

const http = async (t: Test, listener: RequestListener) => await listen(t, createServer(listener))

/** A server that writes this, ends the connection even if it is not read yet, and then reports that. */
async function closing (t: Test, pieces: readonly string[]): Promise<{ url: URL, closed: Promise<unknown> }> {
  const server = createTcpServer({ allowHalfOpen: true }, socket => {
    socket.once('data', () => {
      for (const piece of pieces) socket.write(piece)
      socket.end()
      socket.once('finish', () => { server.emit('written') })
    })
  })
  return { url: await listen(t, server), closed: once(server, 'written') }
}

/** Enough turns of the event loop for the end of a local connection to arrive. */
async function settled (): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await nextTurn()
}

/** Small ones arrive in one chunk before their reader starts; the others need many chunks. */
const sizes = [20_000, 60_000, 65_536, 600_000]
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const head = (...headers: string[]) => `HTTP/1.1 200 OK\r\n${headers.map(header => `${header}\r\n`).join('')}\r\n`

/** Each way in which an answer marks its end, complete and cut off. */
function answersOf (text: string): ReadonlyArray<[what: string, pieces: readonly string[], whole: boolean]> {
  return [
    ['a length, and the connection ends', [head(`content-length: ${text.length}`, 'connection: close'), text], true],
    ['a length, and the connection was to stay', [head(`content-length: ${text.length}`), text], true],
    ['chunks, and the connection ends', [head('transfer-encoding: chunked', 'connection: close'), chunk(text), '0\r\n\r\n'], true],
    ['chunks, and the connection was to stay', [head('transfer-encoding: chunked'), chunk(text), '0\r\n\r\n'], true],
    ['the end of the connection', [head('connection: close'), text], true],
    ['a length that is not reached', [head(`content-length: ${text.length + 1}`, 'connection: close'), text], false],
    ['chunks without the last', [head('transfer-encoding: chunked', 'connection: close'), chunk(text)], false],
    ['chunks of a connection that was to stay, without the last', [head('transfer-encoding: chunked'), chunk(text)], false]
  ]
}

for (const [connections, create] of clients) {
  t.test(`a server that closes before its reader is done ends only its own answer: ${connections}`, async t => {
    for (const [what, pieces, whole, size] of sizes.flatMap(size =>
      answersOf('x'.repeat(size)).map(answer => [...answer, size] as const))) {
      const client = create()
      const { url, closed } = await closing(t, pieces)
      const { body } = await client.request({ url, signal: never })
      await closed
      await settled()
      const read = readBytes(body, 1e6)
      // A small answer on a kept connection is JSON, whose end is recognizable by itself.
      if (!whole && connections === 'kept connections') await read.catch(() => {})
      else if (whole) t.equal((await read).length, size, what)
      else await t.rejects(read, what)

      const unread = await closing(t, pieces)
      const left = await client.request({ url: unread.url, signal: never })
      await unread.closed
      await settled()
      left.body.destroy()
      await client.close()
    }
  })
}

t.test('generations and small calls survive this too, and report it', async t => {
  const textWith = (image: Buffer) => JSON.stringify({ images: [image.toString('base64')], parameters: {}, info: '{}' })
  const slowly = async (until: Promise<unknown>, written: Buffer[]): Promise<ImageSink> => ({
    async write (bytes) {
      written.push(Buffer.from(bytes))
      await until
      await settled()
    },
    end: async () => {},
    abort: async () => {}
  })
  for (const size of sizes) {
    for (const [headers, whole] of [[['connection: close'], true], [['connection: close'], false], [[], true], [[], false]] as const) {
      const image = Buffer.alloc(size * 3 / 4 - 100, 1)
      const text = textWith(image)
      const sent = whole ? text : text.slice(0, -10_000)
      const { url, closed } = await closing(t, [head(`content-length: ${text.length}`, ...headers), sent])
      const client = createA1111Client({ baseUrl: url.href })
      t.teardown(() => client.close())
      const written: Buffer[] = []
      const generation = client.generate('txt2img', '{}', {
        deadlineMs: 20_000, maxAnswerBytes: 1e6, createSink: async () => await slowly(closed, written)
      })
      if (whole) {
        await generation
        t.ok(Buffer.concat(written).equals(image))
      } else {
        await t.rejects(generation, { code: 'truncated_answer', failureClass: 'passing' })
      }
      const small = await closing(t, [head(`content-length: ${text.length}`, ...headers), sent])
      const caller = createA1111Client({ baseUrl: small.url.href })
      t.teardown(() => caller.close())
      const answer = caller.readJson('/sdapi/v1/options')
      if (whole) t.match(await answer, { info: '{}' })
      else await t.rejects(answer, { code: 'truncated_answer' })
    }
  }
})

t.test('an answer is read no faster than its consumer, and a body sent no faster than it is accepted', async t => {
  let sent = 0
  const url = await http(t, (_request, response) => {
    response.writeHead(200)
    const more = () => {
      while (sent < 50_000_000) {
        sent += 65_536
        if (!response.write(Buffer.alloc(65_536))) return
      }
      response.end()
    }
    response.on('drain', more)
    more()
  })
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const { body } = await client.request({ url, signal: never })
  await settled()
  t.ok(sent < 20_000_000, `${sent} bytes were taken of an answer that nobody reads`)
  let bytes = 0
  for await (const piece of body) bytes += piece.length
  t.ok(bytes >= 50_000_000)

  let produced = 0
  const source = new Readable({
    read () {
      produced += 65_536
      this.push(produced > 50_000_000 ? null : Buffer.alloc(65_536))
    }
  })
  let stalled = 0
  const sink = await http(t, async (request, response) => {
    await settled()
    stalled = produced
    request.resume()
    await once(request, 'end')
    response.end('taken')
  })
  const answer = await requestBytes(client, { url: sink, method: 'POST', body: source, timeoutMs: 20_000, maxBytes: 100 })
  t.equal(answer.body.toString(), 'taken')
  t.ok(stalled < 20_000_000, `${stalled} bytes were made for a server that reads nothing`)
})

t.test('a request on a connection of its own is sent once, whatever happens to it', async t => {
  let requests = 0
  const url = await listen(t, createTcpServer(socket => {
    socket.once('data', () => {
      requests++
      socket.end()
    })
  }))
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const connected: string[] = []
  const post = () => client.request({ url, method: 'POST', body: '{}', signal: never }, address => { connected.push(address) })
  await t.rejects(post(), { code: 'ECONNRESET' })
  await t.rejects(client.request({ url, signal: never }), { code: 'ECONNRESET' }, 'a GET neither')
  await settled()
  t.equal(requests, 2)
  t.same(connected, ['127.0.0.1'], 'reported when the connection is there')
  await t.rejects(client.request({ url: new URL('http://127.0.0.1:1/'), signal: never }, () => connected.push('none')),
    { code: 'ECONNREFUSED' })
  t.equal(connected.length, 1)
})

t.test('a request ends at its signal: during lookup, connecting, waiting, reading', async t => {
  const reason = new Error('enough')
  const end = async (begin: (signal: AbortSignal, abort: () => void) => Promise<unknown>, what: string) => {
    const controller = new AbortController()
    await t.rejects(begin(controller.signal, () => { controller.abort(reason) }), reason, what)
  }
  const unresolved = createHttpClient({ connectTimeoutMs: 60_000, resolve: async () => await new Promise(() => {}) })
  const silent = await listen(t, createTcpServer(() => {}))
  const endless = await http(t, (_request, response) => { response.writeHead(200).write('begun') })
  for (const [connections, create] of clients) {
    const client = create()
    await end(signal => {
      const request = client.request({ url: silent, signal: AbortSignal.abort(reason) })
      t.notOk(signal.aborted)
      return request
    }, `before it began: ${connections}`)
    await end((signal, abort) => {
      setImmediate(abort)
      return client.request({ url: silent, signal })
    }, `waiting: ${connections}`)
    await end(async (signal, abort) => {
      const { body } = await client.request({ url: endless, signal })
      for await (const piece of body) if (piece.length > 0) abort()
    }, `reading: ${connections}`)
    await client.close()
  }
  await end((signal, abort) => {
    setImmediate(abort)
    return unresolved.request({ url: silent, signal })
  }, 'looking up')
  const slow = createHttpClient({ connectTimeoutMs: 20, resolve: async () => await new Promise(() => {}) })
  await t.rejects(slow.request({ url: silent, signal: never }), { code: 'ETIMEDOUT' }, 'connecting has a limit of its own')
})

t.test('a complete answer has a deadline and a size, and follows no redirect', async t => {
  let calls = 0
  const url = await http(t, (request, response) => {
    calls++
    if (request.url === '/silent') return
    if (request.url === '/moved') response.writeHead(302, { location: '/' }).end()
    else response.writeHead(200, { 'x-twice': ['a', 'b'] }).end('0123456789')
  })
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const get = async (path: string, limits: { timeoutMs?: number, maxBytes?: number } = {}) =>
    await requestBytes(client, { url: new URL(path, url), timeoutMs: 10_000, maxBytes: 100, ...limits })
  t.match(await get('/'), { statusCode: 200, body: Buffer.from('0123456789'), headers: { 'x-twice': 'a, b' } })
  await t.rejects(get('/', { maxBytes: 9 }), { message: 'its answer is longer than 9 bytes' })
  await t.rejects(get('/silent', { timeoutMs: 30 }), { message: 'it did not answer within 0.03 s' })
  calls = 0
  t.equal((await get('/moved')).statusCode, 302)
  t.equal(calls, 1)
})

t.test('the checked addresses are those of the connection', async t => {
  const url = await http(t, (request, response) => { response.end(request.headers.host) })
  const asked: unknown[] = []
  const client = createHttpClient({
    connectTimeoutMs: 2000,
    async resolve (destination) {
      asked.push(destination)
      return destination.host === 'nowhere.test' ? [] : [{ address: '127.0.0.1', family: 4 }]
    }
  })
  const at = (host: string) => new URL(`http://${host}:${url.port}/`)
  const { body } = await requestBytes(client, { url: at('name.test'), timeoutMs: 5000, maxBytes: 100 })
  t.equal(body.toString(), `name.test:${url.port}`)
  t.same(asked, [{ host: 'name.test', port: Number(url.port) }])
  await t.rejects(requestBytes(client, { url: at('nowhere.test'), timeoutMs: 5000, maxBytes: 100 }),
    { message: 'nowhere.test has no address' })
})

t.test('a certificate must match the requested name, which TLS gets', async t => {
  const greeted: unknown[] = []
  const server = createHttpsServer({ key: pem('key'), cert: pem('private') }, (request, response) => {
    greeted.push((request.socket as TLSSocket).servername)
    response.end('here')
  })
  const { port } = await listen(t, server)
  const client = createHttpClient({
    connectTimeoutMs: 5000,
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    tls: { secureContext: createSecureContext({ ca: pem('root') }) }
  })
  const get = async (host: string) =>
    (await requestBytes(client, { url: new URL(`https://${host}:${port}/`), timeoutMs: 5000, maxBytes: 100 })).body.toString()
  t.equal(await get('gpu.test'), 'here')
  t.equal(await get('127.0.0.1'), 'here')
  await t.rejects(get('other.test'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  t.same(greeted, ['gpu.test', false])
  await t.rejects(requestBytes(createHttpClient({ connectTimeoutMs: 5000 }), {
    url: new URL(`https://127.0.0.1:${port}/`), timeoutMs: 5000, maxBytes: 100
  }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
})

t.test('a prepared connection carries the request; without one that is open, the request opens its own', async t => {
  let connections: Socket[] = []
  let requests = 0
  const server = createServer((_request, response) => {
    requests++
    response.end('here')
  })
  server.on('connection', (socket: Socket) => { connections.push(socket) })
  const url = await listen(t, server)
  const client = createHttpClient({ connectTimeoutMs: 2000 })

  /** Sends one request over a connection that was prepared before something happened; the number of connections. */
  async function over (happening: (connection: ReturnType<HttpClient['prepare']>) => Promise<unknown>): Promise<number> {
    connections = []
    requests = 0
    const connection = client.prepare(url, {})
    await happening(connection)
    const addresses: string[] = []
    const request = { url, signal: never, over: connection }
    const answer = await client.request(request, address => { addresses.push(address) })
    t.equal((await readBytes(answer.body, 100)).toString(), 'here')
    t.equal(requests, 1, 'it is sent once')
    t.same(addresses, ['127.0.0.1'])
    return connections.length
  }
  async function untilOpen (): Promise<void> {
    if (connections.length === 0) await once(server, 'connection')
    await settled()
  }

  t.equal(await over(async () => {}), 1, 'just being opened')
  t.equal(await over(untilOpen), 1, 'open')
  t.equal(await over(async () => {
    await untilOpen()
    connections[0]?.end()
    await settled()
  }), 2, 'closed by the server')
  t.equal(await over(async () => {
    await untilOpen()
    connections[0]?.write('HTTP/1.1 408 Request Timeout\r\n\r\n')
    await settled()
  }), 2, 'the server has given up waiting for a request')
  t.equal(await over(async connection => {
    await untilOpen()
    connection.close()
  }), 2, 'closed')

  const closed = once(server, 'connection').then(async ([socket]) => { await once((socket as Socket).resume(), 'close') })
  client.prepare(url, {})
  await untilOpen()
  await client.close()
  await closed
})

t.test('a connection that cannot be prepared costs a request nothing', async t => {
  const place = createServer((_request, response) => { response.end('here') })
  const url = await listen(t, place)
  await new Promise(resolve => { place.close(resolve) })
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const connection = client.prepare(url, {})
  await settled()
  await t.rejects(client.request({ url, signal: never, over: client.prepare(url, {}) }), { code: 'ECONNREFUSED' })
  place.listen(Number(url.port), '127.0.0.1')
  await once(place, 'listening')
  const answer = await client.request({ url, signal: never, over: connection })
  t.equal((await readBytes(answer.body, 100)).toString(), 'here')

  let admitted = true
  const guarded = createHttpClient({ connectTimeoutMs: 2000, admit () { if (!admitted) throw new Error('it is starting') } })
  const before = guarded.prepare(url, {})
  await settled()
  admitted = false
  await t.rejects(guarded.request({ url, signal: never, over: before }), { message: 'it is starting' })
})

t.test('a request that follows an answer uses its connection again', async t => {
  let connections = 0
  const server = createServer((_request, response) => { response.end('{}') })
  server.on('connection', () => { connections++ })
  const url = await listen(t, server)
  const client = createHttpClient({ connectTimeoutMs: 2000, keep: { connections: 4, idleMs: 2000 } })
  t.teardown(client.close)
  for (let count = 0; count < 3; count++) await requestBytes(client, { url, timeoutMs: 10_000, maxBytes: 100 })
  t.equal(connections, 1)
})

t.test('an answer without a length whose connection is reset is not whole', async t => {
  const server = createTcpServer(socket => {
    socket.once('data', () => { socket.write(`${head('connection: close')}begun`) })
    server.once('reset', () => { socket.resetAndDestroy() })
  })
  const url = await listen(t, server)
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const { body } = await client.request({ url, signal: never })
  await settled()
  server.emit('reset')
  await t.rejects(readBytes(body, 100), { code: 'ECONNRESET' })
})

t.test('a server that is silent for too long is given up, but not if its reader is behind', async t => {
  const silent = await listen(t, createTcpServer(() => {}))
  const halfway = await http(t, (_request, response) => { response.writeHead(200).write('begun') })
  const text = 'x'.repeat(600_000)
  const whole = await http(t, (_request, response) => { response.end(text) })
  for (const [connections, create] of clients) {
    const client = create()
    await t.rejects(client.request({ url: silent, idleMs: 30, signal: never }), { message: /sent nothing for 0.03 s/ }, `no headers: ${connections}`)
    const { body } = await client.request({ url: halfway, idleMs: 30, signal: never })
    await t.rejects(readBytes(body, 100), { message: /sent nothing/ }, `half a body: ${connections}`)
    await client.close()
  }
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const answer = await client.request({ url: whole, idleMs: 1000, signal: never })
  const beyond = performance.now() + 2500
  while (performance.now() < beyond) await nextTurn()
  t.equal((await readBytes(answer.body, 1e6)).length, text.length)
})

t.test('an answer that comes while the process does not run is in time', async t => {
  const elsewhere = new Worker(`
    const server = require('node:http').createServer((request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
      setTimeout(() => { response.end('{}') }, 50)
    })
    server.listen(0, '127.0.0.1', () => { require('node:worker_threads').parentPort.postMessage(server.address().port) })
  `, { eval: true })
  t.teardown(async () => await elsewhere.terminate())
  const [port] = await once(elsewhere, 'message') as [number]
  const url = new URL(`http://127.0.0.1:${port}/`)
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  const freeze = () => { Atomics.wait(nobody, 0, 0, 700) }

  for (const [connections, create] of clients) {
    const client = create()
    const { body } = await client.request({ url, idleMs: 300, signal: never })
    freeze()
    t.equal((await readBytes(body, 100)).toString(), '{}', connections)
    await client.close()
  }

  const client = createA1111Client({ baseUrl: url.href })
  t.teardown(client.close)
  const answer = client.readJson('/sdapi/v1/options', { timeoutMs: 300 })
  await new Promise(resolve => { setTimeout(resolve, 20) })
  freeze()
  t.strictSame(await answer, {}, 'a small call')
})

t.test('a request has its body with its length, whatever its method, and its headers as they are', async t => {
  const url = await http(t, async (request, response) => {
    let text = ''
    for await (const piece of request) text += String(piece)
    const { host, 'content-length': length = 'none', 'transfer-encoding': coding = 'none', 'x-name': name } = request.headers
    response.end([request.method, host, length, coding, name, text].join(' '))
  })
  for (const [connections, create] of clients) {
    const client = create()
    const send = async (method: HttpRequest['method'] & string, body?: string | Readable, headers = {}) => {
      const given = body === undefined ? {} : { body }
      const answer = await requestBytes(client, { url, method, headers, ...given, timeoutMs: 5000, maxBytes: 1000 })
      return answer.body.toString()
    }
    t.equal(await send('GET'), `GET ${url.host} none none  `, connections)
    t.equal(await send('POST'), `POST ${url.host} 0 none  `, connections)
    t.equal(await send('DELETE', 'ä'), `DELETE ${url.host} 2 none  ä`, connections)
    t.equal(await send('POST', 'ä', { 'x-name': 'Zoë' }), `POST ${url.host} 2 none Zoë ä`, connections)
    t.equal(await send('PUT', Readable.from([Buffer.from('one'), Buffer.from('two')])), `PUT ${url.host} none chunked  onetwo`)
    t.equal(await send('PUT', Readable.from([Buffer.from('one')]), { 'content-length': '3' }), `PUT ${url.host} 3 none  one`)
    t.equal(await send('GET', undefined, { Host: 'other.test' }), 'GET other.test none none  ')
    await client.close()
  }
})

t.test('an answer that comes before the body is sent counts, and a body that breaks ends the request', async t => {
  const early = await http(t, (_request, response) => { response.writeHead(413).end('too much') })
  const client = createHttpClient({ connectTimeoutMs: 2000 })
  const endless = new Readable({ read () { setImmediate(() => this.push(Buffer.alloc(1000))) } })
  const answer = await requestBytes(client, { url: early, method: 'POST', body: endless, timeoutMs: 5000, maxBytes: 100 })
  t.match(answer, { statusCode: 413, body: Buffer.from('too much') })
  await settled()
  t.ok(endless.destroyed)

  const waiting = await http(t, request => { request.resume() })
  let pieces = 0
  const broken = new Readable({
    read () {
      if (pieces++ === 0) this.push('begun')
      else this.destroy(new Error('the file is gone'))
    }
  })
  await t.rejects(client.request({ url: waiting, method: 'POST', body: broken, signal: never }), { message: 'the file is gone' })
  const unsent = new Readable({ read () {} })
  await t.rejects(client.request({ url: new URL('http://127.0.0.1:1/'), method: 'POST', body: unsent, signal: never }))
  t.ok(unsent.destroyed)
})
