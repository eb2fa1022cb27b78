import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createA1111Client, type A1111Client, type ClientLimits } from '../../src/a1111/client.ts'
import type { GenerationOptions } from '../../src/a1111/generation-call.ts'
import { GenerationFailure, type ImageSink, type ServerAddress } from '../../src/a1111/types.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

const image = Buffer.from('the bytes of an image')
const completeAnswer = JSON.stringify({ images: [image.toString('base64')], parameters: { steps: 4 }, info: '{"seed":42}' })

/** A server that answers with the handler, and a client for it; both close with the test. */
async function start (
  t: Test, handler: Handler, { limits, address }: { limits?: ClientLimits, address?: Partial<ServerAddress> } = {}
): Promise<{ client: A1111Client, server: Server, sockets: Set<Socket> }> {
  const server = createServer((request, response) => { handler(request, response) })
  const sockets = new Set<Socket>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  const baseUrl = await listen(t, server)
  const client = createA1111Client({ ...address, baseUrl: baseUrl + (address?.baseUrl ?? '') }, limits)
  t.teardown(() => client.close())
  return { client, server, sockets }
}

async function listen (t: Test, server: Pick<Server, 'listen' | 'close' | 'address' | 'once'>): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server as Server, 'listening')
  t.teardown(() => new Promise<void>(resolve => {
    server.close(() => { resolve() })
    if ('closeAllConnections' in server) (server as Server).closeAllConnections()
  }))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function answer (response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function page (response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'text/html' }).end('<html><h1>nginx</h1></html>')
}

/** Options of a generation whose images are discarded. */
function options (changes: Partial<GenerationOptions> = {}): GenerationOptions {
  const createSink = async (): Promise<ImageSink> => ({
    write: async () => {}, end: async () => {}, abort: async () => {}
  })
  return { deadlineMs: 60_000, maxAnswerBytes: 1e6, createSink, ...changes }
}

async function failureOf (call: Promise<unknown>): Promise<GenerationFailure> {
  const error = await call.then(() => new Error('nothing failed'), (reason: unknown) => reason)
  if (error instanceof GenerationFailure) return error
  throw error
}

t.test('a generation is sent unchanged and its images reach their sinks', async t => {
  const seen: Array<{ path: string | undefined, headers: IncomingMessage['headers'], body: string }> = []
  const { client } = await start(t, async (request, response) => {
    seen.push({ path: request.url, headers: request.headers, body: await text(request) })
    response.end(completeAnswer)
  }, { address: { baseUrl: '/behind/a/prefix/', username: 'user', password: 'pass:word' } })
  const written: Buffer[] = []
  let sent = 0
  const given = await client.generate('img2img', Buffer.from('{"prompt":"ein Häuschen"}'), options({
    createSink: async () => ({
      write: async bytes => { written.push(Buffer.from(bytes)) }, end: async () => {}, abort: async () => {}
    }),
    onSent: () => { sent++ }
  }))
  t.strictSame(given, { imageCount: 1, info: { seed: 42 }, parameters: { steps: 4 } })
  t.strictSame(Buffer.concat(written), image)
  t.equal(sent, 1)
  t.match(seen, [{
    path: '/behind/a/prefix/sdapi/v1/img2img',
    body: '{"prompt":"ein Häuschen"}',
    headers: {
      authorization: `Basic ${Buffer.from('user:pass:word').toString('base64')}`,
      'accept-encoding': 'identity',
      'content-type': 'application/json',
      connection: 'close'
    }
  }])
  await client.generate('txt2img', '{}', options())
  t.equal(seen[1]?.path, '/behind/a/prefix/sdapi/v1/txt2img')
})

t.test('each generation has a connection of its own, small calls share', async t => {
  const ports: Array<number | undefined> = []
  const { client } = await start(t, (request, response) => {
    ports.push(request.socket.remotePort)
    response.end(request.method === 'POST' ? completeAnswer : '{}')
  })
  for (let count = 0; count < 20; count++) await client.readJson('/small')
  const small = new Set(ports.splice(0))
  t.ok(small.size <= 8, 'at most eight connections')
  for (let count = 0; count < 5; count++) await client.generate('txt2img', '{}', options())
  t.equal(new Set(ports).size, 5)
  t.notOk(ports.some(port => small.has(port)))
})

t.test('the text of an error by A1111 or Forge decides its class', async t => {
  const pydantic1 = [{ loc: ['body', 'steps'], msg: 'value is not a valid integer', type: 'type_error.integer' }]
  const pydantic2 = [
    { type: 'int_parsing', loc: ['body', 'steps'], msg: 'Input should be a valid integer', input: 'abc' },
    { type: 'missing', loc: ['body', 'override_settings', 0], msg: 'Field required', input: {} }
  ]
  const raised = (error: string, errors: string) => ({ error, detail: '', body: '', errors })
  const cases: Array<[status: number, body: unknown, failureClass: string, code: string, says?: RegExp]> = [
    [422, { detail: pydantic1 }, 'request', 'request_rejected', /: steps: value is not a valid integer\.$/],
    [422, { detail: pydantic2 }, 'request', 'request_rejected', /: steps: Input should be a valid integer; override_settings\.0: Field required\.$/],
    [422, { detail: [{ loc: ['body', 0], msg: 'Expecting value', type: 'value_error.jsondecode', ctx: { doc: 'x' } }] }, 'request', 'request_rejected', /: body: Expecting value\.$/],
    [422, { error: 'HTTPException', detail: "Script 'nope' not found", body: '', errors: '' }, 'request', 'request_rejected', /: Script 'nope' not found\.$/],
    [404, { detail: 'Init image not found' }, 'request', 'request_rejected', /Init image not found/],
    [400, { error: 'prompt required' }, 'request', 'request_rejected', /prompt required/],
    [500, raised('ZeroDivisionError', 'integer division or modulo by zero'), 'request', 'request_failed', /ZeroDivisionError: integer division/],
    [500, { error: 'TypeError', detail: '', body: '', message: 'unsupported operand' }, 'request', 'request_failed', /TypeError: unsupported/],
    [500, raised('Exception', 'could not find upscaler named x'), 'request', 'request_failed'],
    [500, { detail: 'Invalid encoded image' }, 'request', 'request_failed', /Invalid encoded image/],
    [500, { error: 'HTTPException', detail: 'Invalid encoded image', body: '', errors: '' }, 'request', 'request_failed'],
    [500, raised('NansException', 'A tensor with NaNs was produced in Unet.'), 'request', 'nan', /NaNs was produced in Unet\.$/],
    [500, raised('OutOfMemoryError', 'CUDA out of memory. Tried to allocate 2 GiB'), 'out-of-memory', 'out_of_memory'],
    [500, { error: 'RuntimeError', detail: '', body: '', message: 'CUDA error: out of memory' }, 'out-of-memory', 'out_of_memory'],
    [500, raised('RuntimeError', 'CUDA error: an illegal memory access was encountered'), 'server-down', 'cuda_poisoned'],
    [500, raised('RuntimeError', 'CUDA error: device-side assert triggered'), 'server-down', 'cuda_poisoned'],
    [500, raised('ExceptionGroup', 'unhandled errors in a TaskGroup (1 sub-exception)'), 'passing', 'server_error'],
    [500, raised('FileNotFoundError', 'no such file'), 'passing', 'server_error'],
    [500, { nothing: 'known' }, 'passing', 'server_error'],
    [401, { detail: 'Not authenticated' }, 'unauthorized', 'unauthorized', /Not authenticated/],
    [403, {}, 'unauthorized', 'unauthorized'],
    [404, { detail: 'Not Found' }, 'server-down', 'route_missing'],
    [405, { detail: 'Method Not Allowed' }, 'server-down', 'method_not_allowed'],
    [413, {}, 'request', 'payload_too_large'],
    [429, {}, 'passing', 'server_busy'],
    [503, { message: 'later' }, 'server-down', 'bad_gateway'],
    [202, { job_id: 'x' }, 'bad-answer', 'unexpected_status'],
    [200, { error: 'x', detail: 'broke' }, 'bad-answer', 'error_in_answer', /broke/]
  ]
  let next: [number, unknown] = [200, {}]
  const { client } = await start(t, (request, response) => {
    request.resume()
    answer(response, ...next)
  })
  for (const [status, body, failureClass, code, says = /./] of cases) {
    next = [status, body]
    const failure = await failureOf(client.generate('txt2img', '{}', options()))
    t.match(failure, { failureClass, code, mayBeRunning: false, message: says }, `${status} ${JSON.stringify(body).slice(0, 60)}`)
  }
})

t.test('every status from 200 to 299 is a success, also without a body', async t => {
  let next: [status: number, body: string] = [204, '']
  const { client } = await start(t, (request, response) => {
    request.resume()
    response.writeHead(next[0], { 'content-type': 'application/json' }).end(next[1])
  })
  const answers: Array<typeof next> = [[204, ''], [200, ''], [200, '\n'], [202, '{}'], [201, 'null']]
  for (next of answers) {
    await t.resolves(client.interrupt(), `interrupt ${next.join(' ')}`)
    await t.resolves(client.unloadCheckpoint(), `unload ${next.join(' ')}`)
    await t.resolves(client.postJson('/sdapi/v1/refresh-checkpoints', {}), `refresh ${next.join(' ')}`)
  }
  next = [201, completeAnswer]
  t.match(await client.generate('txt2img', '{}', options()), { imageCount: 1 })
  next = [204, '']
  t.match(await failureOf(client.generate('txt2img', '{}', options())), { failureClass: 'bad-answer', code: 'unexpected_status' })
  t.match(await failureOf(client.readJson('/sdapi/v1/options')), { code: 'truncated_answer' }, 'who asks for something gets something')
})

t.test('a server that wants fewer requests says how long to wait', async t => {
  let retryAfter: string | undefined = '7'
  let asked = 0
  const { client } = await start(t, (request, response) => {
    request.resume()
    asked++
    response.writeHead(429, retryAfter === undefined ? {} : { 'retry-after': retryAfter }).end('{"detail":"rate limit exceeded"}')
  })
  const wait = async (header: string | undefined) => {
    retryAfter = header
    const failure = await failureOf(client.generate('txt2img', '{}', options()))
    t.match(failure, { failureClass: 'passing', code: 'server_busy' })
    return failure.retryAfterMs ?? 0
  }
  t.equal(await wait('7'), 7000)
  t.equal(await wait(undefined), 10_000)
  t.equal(await wait('soon'), 10_000)
  t.equal(await wait('999999999'), 600_000)
  const inAMinute = await wait(new Date(Date.now() + 60_000).toUTCString())
  t.ok(inAMinute > 50_000 && inAMinute <= 60_000, `${inAMinute}`)
  retryAfter = '60'
  asked = 0
  for (let look = 0; look < 3; look++) t.match(await failureOf(client.readJson('/sdapi/v1/progress?look=1')), { code: 'server_busy' })
  t.equal(asked, 1, 'it is left alone meanwhile')
  await failureOf(client.readJson('/sdapi/v1/options'))
  await failureOf(client.interrupt())
  t.equal(asked, 3, 'other routes are not, and never an interrupt')
})

t.test('messages contain neither stack traces nor pages of text', async t => {
  const trace = 'it broke\nTraceback (most recent call last):\n  File "/srv/a1111/modules/api.py", line 1\n'
  let errors = trace
  const { client } = await start(t, (_, response) => answer(response, 500, { error: 'OSError', detail: '', errors }))
  t.equal((await failureOf(client.generate('txt2img', '{}', options()))).message, 'The server failed: OSError: it broke.')
  errors = 'x'.repeat(100_000)
  t.ok((await failureOf(client.generate('txt2img', '{}', options()))).message.length < 600)
})

t.test('the server\'s own answer about a request is kept with the failure, unless it repeats our secrets', async t => {
  const said = { error: 'TypeError', detail: '', body: '', errors: 'Script.run() missing 18 required arguments' }
  const answers: Readonly<Record<string, readonly [status: number, body: unknown]>> = {
    own: [500, said],
    refused: [404, { error: 'HTTPException', detail: 'Sampler not found', body: '', errors: '' }],
    echoed: [500, { ...said, body: { seen: ['Bearer bearer-secret'] } }],
    long: [422, { detail: [{ loc: ['body'], msg: 'x'.repeat(5000), type: 'value_error' }] }],
    credentials: [401, { detail: 'Not authenticated' }],
    text: [500, 'a bare string']
  }
  let next = ''
  const { client } = await start(t, (_request, response) => { answer(response, ...answers[next] ?? [500, '']) },
    { address: { bearer: 'bearer-secret' } })
  const kept: Record<string, unknown> = {}
  for (next of Object.keys(answers)) {
    kept[next] = (await failureOf(client.generate('txt2img', '{}', options()))).answer
  }
  t.strictSame(kept, {
    own: { status: 500, body: said },
    refused: { status: 404, body: answers.refused?.[1] },
    echoed: null,
    long: null,
    credentials: null,
    text: null
  })
})

t.test('an error by a proxy is not the request\'s fault', async t => {
  let status = 502
  const { client } = await start(t, (_, response) => page(response, status))
  for (status of [200, 500, 502, 503, 504]) {
    t.match(await failureOf(client.generate('txt2img', '{}', options())),
      { failureClass: 'server-down', code: 'bad_gateway', mayBeRunning: status === 504 }, String(status))
  }
})

t.test('redirects are not followed', async t => {
  const paths: Array<string | undefined> = []
  const { client } = await start(t, (request, response) => {
    paths.push(request.url)
    response.writeHead(307, { location: '/elsewhere' }).end()
  })
  t.match(await failureOf(client.generate('txt2img', '{}', options())), { failureClass: 'server-down', code: 'redirected' })
  t.match(await failureOf(client.readJson('/sdapi/v1/options')), { code: 'redirected' })
  t.strictSame(paths, ['/sdapi/v1/txt2img', '/sdapi/v1/options'])
})

t.test('if nothing listens, no generation can be running', async t => {
  const server = createServer()
  const baseUrl = await listen(t, server)
  server.close()
  await once(server, 'close')
  const client = createA1111Client({ baseUrl })
  t.teardown(() => client.close())
  let sent = false
  const failure = await failureOf(client.generate('txt2img', '{}', options({ onSent: () => { sent = true } })))
  t.match(failure, { failureClass: 'server-down', code: 'connection_refused', mayBeRunning: false })
  t.notOk(sent)
  t.match(await failureOf(client.readJson('/sdapi/v1/options')), { failureClass: 'server-down', code: 'connection_refused' })
})

t.test('after a connection that breaks before the answer, a generation can still be running', async t => {
  const { client } = await start(t, async request => {
    await text(request)
    request.socket.resetAndDestroy()
  })
  t.match(await failureOf(client.generate('txt2img', '{}', options())),
    { failureClass: 'server-down', code: 'connection_lost', mayBeRunning: true })
  t.match(await failureOf(client.interrupt()), { failureClass: 'server-down', code: 'connection_lost', mayBeRunning: false })
})

t.test('a port without HTTP differs from a server', async t => {
  const server = createTcpServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => { socket.end('220 smtp.example.org ESMTP\r\n') })
  })
  const client = createA1111Client({ baseUrl: await listen(t, server as unknown as Server) })
  t.teardown(() => client.close())
  t.match(await failureOf(client.readJson('/sdapi/v1/options')), { failureClass: 'server-down', code: 'not_http' })
})

t.test('an answer that is cut off is temporary: the generation is over', async t => {
  const endings: Array<(response: ServerResponse) => void> = [
    response => { response.writeHead(200, { 'content-length': completeAnswer.length }).write(completeAnswer.slice(0, 30)) },
    response => { response.writeHead(200).write(completeAnswer.slice(0, 30)) }
  ]
  let ending = endings[0]
  const { client } = await start(t, (_, response) => {
    ending?.(response)
    response.socket?.end()
  })
  for (ending of endings) {
    let aborted = false
    const createSink = async (): Promise<ImageSink> => ({
      write: async () => {}, end: async () => {}, abort: async () => { aborted = true }
    })
    t.match(await failureOf(client.generate('txt2img', '{}', options({ createSink }))),
      { failureClass: 'passing', code: 'truncated_answer', mayBeRunning: false })
    t.ok(aborted)
  }
  ending = response => { response.writeHead(200).end(completeAnswer.slice(0, -2)) }
  t.match(await failureOf(client.generate('txt2img', '{}', options())), { code: 'truncated_answer' })
})

t.test('an answer larger than allowed is rejected, announced or not', async t => {
  const { client } = await start(t, (request, response) => {
    request.resume()
    if (request.url === '/small') response.setHeader('content-length', completeAnswer.length)
    response.write(completeAnswer)
    response.end()
  }, { limits: { maxSmallAnswerBytes: 50 } })
  t.match(await failureOf(client.generate('txt2img', '{}', options({ maxAnswerBytes: 50 }))),
    { failureClass: 'bad-answer', code: 'answer_too_large' })
  t.match(await failureOf(client.readJson('/small')), { failureClass: 'bad-answer', code: 'answer_too_large' })
})

t.test('a slow answer is read to its end, one byte at a time', async t => {
  const { client } = await start(t, async (_, response) => {
    for (const byte of completeAnswer) {
      response.write(byte)
      await nextTurn()
    }
    response.end()
  })
  t.match(await client.generate('txt2img', '{}', options()), { imageCount: 1 })
})

t.test('the server counts as done when its answer begins, not while it keeps a proxy awake or makes an error', async t => {
  const reported: string[] = []
  let finish = (): void => {}
  const { client } = await start(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('\n ')
    reported.push('blank')
    finish = () => {
      response.write(completeAnswer.slice(0, 20))
      finish = () => { response.end(completeAnswer.slice(20)) }
    }
    setImmediate(() => { finish() })
  })
  await client.generate('txt2img', '{}', options({
    onAnswering () {
      reported.push('answer')
      finish()
    }
  }))
  t.same(reported, ['blank', 'answer'], 'reported once, with most of the answer still to come')

  const failing = await start(t, (_request, response) => { answer(response, 500, { error: 'RuntimeError' }) })
  await failureOf(failing.client.generate('txt2img', '{}', options({ onAnswering: () => reported.push('error') })))
  const proxied = await start(t, (_request, response) => { page(response, 200) })
  await failureOf(proxied.client.generate('txt2img', '{}', options({ onAnswering: () => reported.push('page') })))
  t.same(reported, ['blank', 'answer'])
})

t.test('the next request goes to the server before the images of an answer are decoded', async t => {
  const order: string[] = []
  const { client } = await start(t, (request, response) => {
    request.resume()
    response.writeHead(200).end(completeAnswer)
  })
  const over = client.prepare()
  let next: Promise<unknown> | undefined
  const first = client.generate('txt2img', '{}', options({
    onAnswering () {
      next = client.generate('txt2img', '{}', options({ over, onSent () { order.push('next request') } }))
    },
    async createSink () {
      order.push('image')
      return { write: async () => {}, end: async () => {}, abort: async () => {} }
    }
  }))
  await first
  await next
  t.same(order, ['next request', 'image'])
})

t.test('an answer is read to its end although its connection ended before', async t => {
  const large = JSON.stringify({ images: Array(4).fill(Buffer.alloc(150_000).toString('base64')), parameters: {}, info: '{}' })
  const { client } = await start(t, (request, response) => {
    request.resume()
    response.writeHead(200, { 'content-length': large.length, connection: 'close' }).end(large)
  })
  let written = 0
  const given = await client.generate('txt2img', '{}', options({
    createSink: async () => ({
      async write (bytes) {
        written += bytes.length
        for (let turn = 0; turn < 20; turn++) await nextTurn()
      },
      end: async () => {},
      abort: async () => {}
    })
  }))
  t.equal(given.imageCount, 4)
  t.equal(written, 600_000)
  const small = Array.from({ length: 10 }, () => client.readJson('/sdapi/v1/options'))
  for (const value of await Promise.all(small)) t.equal(JSON.stringify(value).length, large.length)
})

t.test('a silent server is abandoned at the deadline', async t => {
  const { client, sockets } = await start(t, request => { request.resume() }, { limits: { smallCallTimeoutMs: 30 } })
  t.match(await failureOf(client.generate('txt2img', '{}', options({ deadlineMs: 500 }))),
    { failureClass: 'timeout', code: 'deadline_passed', mayBeRunning: true })
  t.match(await failureOf(client.readJson('/sdapi/v1/options')), { failureClass: 'server-down', code: 'answer_timeout' })
  for (const socket of sockets) await once(socket, 'close')
  t.equal(sockets.size, 0, 'no connection is left open')
})

t.test('our own signal ends a generation, and the result says whether it can still be running', async t => {
  const { client, server } = await start(t, (request, response) => {
    request.resume()
    if (request.url?.endsWith('img2img')) response.writeHead(200).write('{"images":["AAAA')
  })
  const before = await failureOf(client.generate('txt2img', '{}', options({ signal: AbortSignal.abort() })))
  t.match(before, { failureClass: 'cancelled', code: 'cancelled', mayBeRunning: false }, 'before it was sent')

  const waiting = new AbortController()
  const listening = countListeners(waiting.signal)
  server.once('request', () => { waiting.abort() })
  const during = await failureOf(client.generate('txt2img', '{}', options({ signal: waiting.signal })))
  t.match(during, { failureClass: 'cancelled', mayBeRunning: true }, 'while the server was silent')
  t.equal(listening(), 0, 'no listener is left on the signal')

  const answering = new AbortController()
  const after = await failureOf(client.generate('img2img', '{}', options({
    signal: answering.signal,
    createSink: async () => {
      answering.abort()
      return { write: async () => {}, end: async () => {}, abort: async () => {} }
    }
  })))
  t.match(after, { failureClass: 'cancelled', mayBeRunning: false }, 'within the answer')
})

t.test('closing the client ends every call and every connection', async t => {
  const { client, server, sockets } = await start(t, (request, response) => {
    if (request.url === '/small') response.end('1')
  })
  t.equal(await client.readJson('/small'), 1)
  const failure = failureOf(client.generate('txt2img', '{}', options()))
  const small = failureOf(client.readJson('/silent'))
  await once(server, 'request')
  await client.close()
  t.match(await failure, { failureClass: 'cancelled', code: 'client_closed' })
  t.match(await small, { failureClass: 'cancelled', code: 'client_closed' })
  for (const socket of sockets) await once(socket, 'close')
  t.match(await failureOf(client.generate('txt2img', '{}', options())), { code: 'client_closed', mayBeRunning: false })
  t.match(await failureOf(client.readJson('/small')), { code: 'client_closed' })
})

t.test('an interrupt does not wait behind slow lists', async t => {
  const held: ServerResponse[] = []
  const { client } = await start(t, (request, response) => {
    if (request.url?.endsWith('/interrupt')) response.end('{}')
    else held.push(response)
  })
  const lists = ['/a', '/b', '/c'].map(path => client.readJson(path))
  await client.interrupt()
  for (const response of held) response.end('[]')
  t.strictSame(await Promise.all(lists), [[], [], []])
})

t.test('progress joins the server\'s data of the task and of itself', async t => {
  const idle = { progress: 0, eta_relative: 0, state: { job_count: 0, sampling_step: 0, sampling_steps: 20 } }
  const loading = { progress: 0.01, eta_relative: 300, state: { job_count: -1, sampling_step: 0, sampling_steps: 20 } }
  const sampling = { progress: 0.51, eta_relative: 4.5, state: { job_count: 1, sampling_step: 10, sampling_steps: 20 } }
  const unknown = { active: false, queued: false, completed: false, progress: null, eta: null }
  const active = { ...unknown, active: true, progress: 0.5, eta: 4 }
  let task: unknown = null
  let global: unknown = idle
  const asked: Array<{ path: string | undefined, body: string }> = []
  const { client } = await start(t, async (request, response) => {
    asked.push({ path: request.url, body: await text(request) })
    if (request.url !== '/internal/progress') return answer(response, 200, global)
    if (task === null) answer(response, 404, { detail: 'Not Found' })
    else answer(response, 200, task)
  })
  async function look (taskView: unknown, globalView: unknown) {
    task = taskView
    global = globalView
    return await client.progress('job-1')
  }
  const nothing = { step: null, steps: null, etaSeconds: null }
  t.match(await look(active, sampling),
    { task: 'running', busy: true, fraction: 0.5, step: 10, steps: 20, etaSeconds: 4 })
  t.strictSame(asked.map(({ path }) => path), ['/sdapi/v1/progress?skip_current_image=true', '/internal/progress'],
    'the task last, as an interrupt may follow')
  t.strictSame(JSON.parse(asked[1]?.body ?? ''), { id_task: 'job-1', live_preview: false })
  t.match(await look({ ...active, progress: 0, eta: null }, loading),
    { task: 'running', busy: true, fraction: 0, ...nothing }, 'steps of the job before are not shown while loading')
  t.match(await look({ ...active, progress: 0, eta: null }, sampling),
    { task: 'running', busy: true, fraction: 0, ...nothing }, 'nor those of the generation that has just ended')
  t.match(await look({ ...active, progress: 0.1, eta: 0.2 }, sampling),
    { task: 'running', busy: true, fraction: 0.1, ...nothing, etaSeconds: 0.2 }, 'nor are they taken for how long it lasts')
  t.match(await look({ ...active, progress: 1e-12, eta: 9e15 }, sampling),
    { task: 'running', busy: true, ...nothing }, 'nor is it believed that it lasts for ever')
  t.match(await look({ ...unknown, queued: true }, sampling),
    { task: 'queued', busy: true, fraction: 0, ...nothing }, 'figures of another\'s job are not ours')
  t.match(await look({ ...active, progress: 0 }, idle),
    { task: 'gone', busy: false, fraction: 0, ...nothing }, 'a task that raised stays active for A1111, not for us')
  t.match(await look({ ...unknown, completed: true }, sampling),
    { task: 'gone', busy: true, fraction: 1, ...nothing })
  t.match(await look(unknown, idle), { task: 'gone', busy: false, fraction: 0, ...nothing })
  t.match(await look(null, sampling),
    { task: 'unknown', busy: true, fraction: 0.5, step: 10, steps: 20, etaSeconds: 4.5 }, 'without /internal/progress')
  asked.length = 0
  t.match(await client.progress(null), { task: 'unknown', busy: true })
  t.match(await client.progress('job-1'), { task: 'unknown', busy: true })
  t.equal(asked.length, 2, 'a route that is missing is not asked for each time')
})

t.test('unload and interrupt are sent with a JSON body', async t => {
  const seen: string[] = []
  const { client } = await start(t, async (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['content-type']} ${await text(request)}`)
    response.end('null')
  })
  await client.interrupt()
  await client.unloadCheckpoint()
  t.strictSame(seen, ['interrupt', 'unload-checkpoint'].map(name => `POST /sdapi/v1/${name} application/json {}`))
})

function countListeners (signal: AbortSignal): () => number {
  let count = 0
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...listener: Parameters<AbortSignal['addEventListener']>) => {
    count++
    addEventListener.apply(signal, listener)
  }
  signal.removeEventListener = (...listener: Parameters<AbortSignal['removeEventListener']>) => {
    count--
    removeEventListener.apply(signal, listener)
  }
  return () => count
}
