import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import sharp from 'sharp'
import t from 'tap'
import { bodyBudget, createByteBudget } from '../../plugins/core/body-intake.ts'
import { keyHeaders } from '../api/access-key.ts'
import { startService } from '../helper.ts'

const mebibyte = 1_048_576
const settings = { BODY_LIMIT_MIB: '4', BODIES_MAX_MIB: '20', BODIES_PER_KEY_MIB: '12', UI_AUTH: 'token', MASTER_KEY: 'a'.repeat(64) }
const service = await startService(t, { settings })
/** The same with short timeouts. */
const strict = await startService(t, {
  redis: service.redis, worker: 'none', settings: { ...settings, BODY_STALL_SECONDS: '0.3' }
})
const [one, other] = [await keyHeaders(service, { scopes: ['*'] }), await keyHeaders(service, { scopes: ['*'] })]
const paths = { api: '/api/v2/generate', sdapi: '/sdapi/v1/txt2img', bots: '/generate/txt2img' } as const
const messages: Readonly<Record<keyof typeof paths, (json: Record<string, unknown>) => unknown>> = {
  api: ({ message }) => message, sdapi: ({ detail }) => detail, bots: ({ detail }) => detail
}

/** A request, written like a slow or careless client does, and the answer until the connection ended. */
interface Conversation {
  readonly socket: Socket
  /** Resolves at the first bytes of an answer. */
  readonly answered: Promise<unknown>
  readonly ended: Promise<string>
}

function say (
  path: string, headers: Readonly<Record<string, string | number>>, body: string | Buffer = '', { url } = service
): Conversation {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  let text = ''
  socket.on('data', bytes => { text += bytes.toString('latin1') })
  const lines = Object.entries({ Host: 'localhost', 'Content-Type': 'application/json', ...headers }).map(([name, value]) => `${name}: ${value}`)
  socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  socket.write(body)
  socket.on('error', () => {})
  return { socket, answered: once(socket, 'data'), ended: once(socket, 'close').then(() => text) }
}

interface JobWithImages { readonly generation_params: { readonly init_images: ReadonlyArray<{ $media: string }> } }

const bodyOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>

/** Announces bodies without sending them; resolves when the service has reserved memory for them. */
async function occupy (headers: Readonly<Record<string, string>>, count: number): Promise<Socket[]> {
  // The answer to `Expect` shows that a body was admitted.
  const conversations = Array.from({ length: count }, () =>
    say(paths.api, { ...headers, 'Content-Length': 4 * mebibyte, Expect: '100-continue' }))
  for (const { answered } of conversations) t.match(String(await answered), /^HTTP\/1\.1 100 Continue/)
  return conversations.map(({ socket }) => socket)
}

t.test('a key with too many bytes in flight is rejected before its next body is read, every client if all is full', async t => {
  const busy = await occupy(one.headers, 3)
  for (const [name, path] of Object.entries(paths) as Array<[keyof typeof paths, string]>) {
    const { ended } = say(path, { ...one.headers, 'Content-Length': mebibyte })
    const answer = await ended
    t.match(answer, /^HTTP\/1\.1 429 /, name)
    t.match(answer, /\r\nretry-after: \d+\r\n/i, name)
    t.match(messages[name](bodyOf(answer)), /BODIES_PER_KEY_MIB/, name)
  }
  const chunked = say(paths.api, { ...one.headers, 'Transfer-Encoding': 'chunked' })
  chunked.socket.write(`100000\r\n${' '.repeat(mebibyte)}\r\n`)
  t.match(await chunked.ended, /^HTTP\/1\.1 429 [^]*BODIES_PER_KEY_MIB/, 'the same for a body that does not say how large it is')
  t.match(await service.request('POST', '/api/v2/generate', {}, one.headers), { status: 400 }, 'small bodies find room')

  busy.push(...await occupy(other.headers, 2))
  const { ended } = say(paths.api, { ...other.headers, 'Content-Length': mebibyte })
  const full = await ended
  t.match(full, /^HTTP\/1\.1 503 [^]*retry-after: \d+\r\n[^]*BODIES_MAX_MIB/i)
  t.match(bodyOf(full), { error: 'server_busy' })

  for (const socket of busy) socket.destroy()
  await Promise.all(busy.map(async socket => socket.closed || await once(socket, 'close')))
  t.match(await (await occupy(one.headers, 1)).length, 1, 'what broke off gives its room back')
})

t.test('a rejected client gets the answer at once, and its connection ends', async t => {
  const wrong = { 'X-API-Key': 'mk_wrongwrong', 'X-API-Secret': 'x'.repeat(32) }
  const cases: Array<[what: string, path: string, headers: Record<string, string | number>, status: number]> = [
    ['no key', paths.api, { 'Content-Length': mebibyte }, 401],
    ['a wrong key', paths.api, { ...wrong, 'Content-Length': mebibyte }, 401],
    ['a wrong key, in chunks', paths.api, { ...wrong, 'Transfer-Encoding': 'chunked' }, 401],
    ['a body that is too large', paths.api, { ...one.headers, 'Content-Length': 5 * mebibyte }, 413],
    ['the same for A1111\'s clients', paths.sdapi, { ...one.headers, 'Content-Length': 5 * mebibyte }, 413],
    ['the same for bots', paths.bots, { ...one.headers, 'Content-Length': 5 * mebibyte }, 413],
    ['a route that is not there', '/nowhere', { ...one.headers, 'Content-Length': mebibyte }, 404],
    ['a type that is not taken', paths.api, { ...one.headers, 'Content-Type': 'text/csv', 'Content-Length': mebibyte }, 415]
  ]
  for (const [what, path, headers, status] of cases) {
    const { socket, ended } = say(path, headers)
    const trickle = setInterval(() => { socket.write('1') }, 100)
    t.match(await ended, new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close`, 'i'), what)
    clearInterval(trickle)
  }
})

t.test('a client that continues to send after the answer can still read it', async t => {
  const body = JSON.stringify({ generation_params: { prompt: 'a'.repeat(3 * mebibyte) } })
  const { socket, ended } = say(paths.api, { 'Content-Length': body.length })
  socket.write(body.slice(0, mebibyte))
  await once(socket, 'data')
  socket.end(body.slice(mebibyte))
  t.match(await ended, /^HTTP\/1\.1 401 [^]*authentication_required/)
})

t.test('a body or a form that trickles ends after its time', async t => {
  const form = '--x\r\nContent-Disposition: form-data; name="mask"; filename="a.png"\r\n\r\n'
  const cases: Array<[what: string, headers: Record<string, string | number>, path: string, begin: string]> = [
    ['JSON', { 'Content-Length': 10_000 }, paths.api, '{"generation_params":'],
    ['JSON of a known length in A1111\'s interface', { 'Content-Length': 10_000 }, paths.sdapi, '{"prompt": "'],
    ['JSON in chunks', { 'Transfer-Encoding': 'chunked' }, paths.bots, '1\r\n{\r\n'],
    ['a form', { 'Content-Length': 10_000, 'Content-Type': 'multipart/form-data; boundary=x' }, paths.bots, form]
  ]
  for (const [what, headers, path, begin] of cases) {
    const { socket, ended } = say(path, { ...one.headers, ...headers }, begin, strict)
    const trickle = setInterval(() => { socket.write(what.includes('chunks') ? '1\r\na\r\n' : 'a') }, 50)
    t.match(await ended, /^HTTP\/1\.1 408 [^]*connection: close[^]*brought less than/i, what)
    clearInterval(trickle)
  }
})

t.test('headers that trickle end the connection', async t => {
  const socket = connect(Number(new URL(strict.url).port), '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write('POST /api/v2/generate HTTP/1.1\r\n')
  let count = 0
  const trickle = setInterval(() => { socket.write(`X-${count++}: a\r\n`) }, 50)
  await once(socket, 'close')
  clearInterval(trickle)
  t.pass('it ended')
})

t.test('large images in JSON are the same job in all interfaces, and an Idempotency-Key recognizes them', async t => {
  const noise = { width: 256, height: 256, channels: 3 } as const
  const png = await sharp(randomBytes(256 * 256 * 3), { raw: noise }).png().toBuffer()
  const image = png.toString('base64')
  const small = { prompt: 'a lighthouse', steps: 1, width: 64, height: 64 }
  const generation = { ...small, init_images: [`data:image/png;base64,${image}`], denoising_strength: 0.5 }
  const keyed = { ...one.headers, 'idempotency-key': 'once' }
  const body = { target_server_alias: 'Main', generation_params: generation }
  const first = await service.request('POST', paths.api, body, keyed)
  t.equal(first.status, 202)
  const again = await service.request('POST', paths.api, body, keyed)
  t.equal(again.body.job_id, first.body.job_id)
  const other = png.toString('base64').replace(/.{8}$/, 'AAAAAAAA')
  const changed = { ...body, generation_params: { ...generation, init_images: [other] } }
  t.match((await service.request('POST', paths.api, changed, keyed)).body.error, /idempotency_key_reused|invalid_image/)

  const job = await service.request('GET', `/api/v2/jobs/${String(first.body.job_id)}`, undefined, one.headers)
  const { init_images: [reference] } = (job.body.job as JobWithImages).generation_params
  const inputPath = `/api/v2/jobs/${String(first.body.job_id)}/inputs/${reference?.$media}`
  const input = await fetch(service.url + inputPath, { headers: one.headers })
  t.ok(Buffer.from(await input.arrayBuffer()).equals(png), 'the server gets what was sent')

  const dropIn = await service.request('POST', '/sdapi/v1/img2img', { ...generation }, one.headers)
  t.equal(dropIn.status, 200)
  t.equal((dropIn.body.images as string[]).length, 1)
  const bot = await service.request('POST', '/generate/img2img', { ...small, user_id: 'ann', image, denoising_strength: 0.5 }, one.headers)
  t.match(bot, { status: 200, body: { status: 'queued' } }, JSON.stringify(bot.body))

  const cut = image.slice(0, 100_000)
  t.match(await service.request('POST', paths.api, { ...body, generation_params: { ...small, init_images: [cut] } }, one.headers), {
    status: 422, body: { error: 'invalid_image', message: /^generation_params\.init_images\.0 is a PNG that was cut off/, details: { field: 'generation_params.init_images.0' } }
  })
  t.match(await service.request('POST', '/sdapi/v1/img2img', { init_images: [cut] }, one.headers), { status: 500, body: { detail: 'Invalid encoded image' } })
  t.match(await service.request('POST', '/generate/img2img', { prompt: 'x', user_id: 'ann', image: cut }, one.headers), {
    status: 422, body: { detail: [{ loc: ['body', 'image'], type: 'invalid_image' }] }
  })
  const broken = `{"init_images": ["${image}"], "prompt": x}`
  const position = broken.indexOf('x}')
  t.match(await service.request('POST', '/sdapi/v1/img2img', broken, one.headers), {
    status: 422, body: { detail: [{ loc: ['body', position], ctx: { pos: position, colno: position + 1, lineno: 1 } }] }
  })
  t.match(await service.request('POST', '/generate/img2img', broken, one.headers), { status: 422, body: { detail: [{ loc: ['body', position] }] } })
  t.match(await service.request('POST', paths.api, broken, one.headers), { status: 400, body: { details: { position } } })
})

t.test('parameters too large for a list of jobs are rejected', async t => {
  const body = { target_server_alias: 'Main', generation_params: { prompt: 'x', alwayson_scripts: { note: { args: ['a'.repeat(1_100_000)] } } } }
  t.match(await service.request('POST', paths.api, body, one.headers), { status: 413, body: { error: 'payload_too_large', message: /beside their images/ } })
})

t.test('limits depend on the memory and always allow a single body', t => {
  const settings = { BODY_LIMIT_MIB: 64, BODIES_MAX_MIB: 0, BODIES_PER_KEY_MIB: 0 }
  t.same(bodyBudget(settings, 4096 * mebibyte), { total: 1024 * mebibyte, perClient: 512 * mebibyte })
  t.same(bodyBudget(settings, 100 * mebibyte), { total: 72 * mebibyte, perClient: 72 * mebibyte })
  const given = { ...settings, BODIES_MAX_MIB: 100, BODIES_PER_KEY_MIB: 200 }
  t.same(bodyBudget(given, 4096 * mebibyte), { total: 100 * mebibyte, perClient: 100 * mebibyte })
  t.end()
})

t.test('a limit takes exactly what it releases', t => {
  const budget = createByteBudget({ total: 2 * mebibyte, perClient: mebibyte })
  const [a, b, c] = [budget.open('a'), budget.open('b'), budget.open('c')]
  a.grow(mebibyte)
  t.throws(() => { budget.open('a').grow(100_000) }, { code: 'bytes_in_flight_limit' })
  b.grow(mebibyte)
  t.throws(() => { c.grow(100_000) }, { code: 'server_busy' })
  c.grow(1000)
  a.shrinkTo(10)
  a.shrinkTo(1000)
  t.equal(budget.used(), mebibyte + 1010)
  for (const share of [a, b, c, a]) share.release()
  t.equal(budget.used(), 0)
  t.end()
})
