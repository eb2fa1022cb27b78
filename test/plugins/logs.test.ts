import { once } from 'node:events'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import { serializeError, type LoggedError, withoutSecrets } from '../../src/lib/logging.ts'
import { listenTo } from '../events/listener.ts'
import { quick, startService } from '../helper.ts'

interface Line {
  readonly msg: string
  readonly level: number
  readonly err?: LoggedError
  readonly job?: string
  readonly request?: string
  readonly [name: string]: unknown
}

/** A logger like the service's, and its lines. */
function listeningLogger () {
  const lines: Line[] = []
  const logger = pino({ level: 'debug', formatters: { log: withoutSecrets } }, new Writable({
    write (chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString('utf8').split('\n')) if (line !== '') lines.push(JSON.parse(line) as Line)
      done()
    }
  }))
  return { lines, logger }
}

t.test('every line about a job has its id and that of its request, from the submission to the end', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger })
  service.simulator.setFaults([{ kind: 'truncated-json', times: 1 }])
  const answer = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: quick
  })
  const id = String(answer.body.id)
  await service.until(id, 'completed')
  const request = answer.headers.get('x-request-id')
  const about = lines.filter(({ job }) => job === id)
  t.same(about.map(({ msg }) => msg).filter(msg => !/progress|claimed/.test(msg)), [
    'job accepted', 'generation started', 'generation failed', 'generation started', 'job completed'
  ])
  t.ok(about.every(line => line.request === request), 'and the line of the request has it too')
  t.match(lines.find(({ msg, path }) => msg === 'request' && path === '/api/v2/generate'), { request, status: 202 })
  t.match(about.find(({ msg }) => msg === 'generation failed'), { server: 'Main', code: /./, error: /./ })

  const listener = await listenTo(`${service.url}/api/v1/events`)
  await listener.untilKind('ready')
  listener.close()
  const isLeft = ({ msg, path }: Line) => /hung up/.test(msg) && path === '/api/v1/events'
  while (!lines.some(isLeft)) await new Promise(resolve => { setTimeout(resolve, 20) })
  t.match(lines.find(isLeft), { method: 'GET', status: 200, caller: 'local' }, 'who listens has a line in the end, too')
})

t.test('HEAD gets the headers of GET, and is logged as HEAD', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger })
  for (const path of ['/api/v1/servers', '/openapi.json', '/', '/ui/app.js', '/sdapi/v1/samplers', '/nowhere']) {
    const [get, head] = [await fetch(service.url + path), await fetch(service.url + path, { method: 'HEAD' })]
    t.equal(head.status, get.status, path)
    for (const name of ['content-type', 'etag', 'cache-control']) t.equal(head.headers.get(name), get.headers.get(name), path)
    const length = (await get.arrayBuffer()).byteLength
    // The error of an unknown path names the method.
    if (get.ok && !get.headers.has('content-encoding')) t.equal(head.headers.get('content-length'), String(length), path)
    t.equal((await head.arrayBuffer()).byteLength, 0, path)
  }
  t.match(lines.find(({ path, method }) => path === '/openapi.json' && method === 'HEAD'), { status: 200 })
  t.match(lines.find(({ path, method }) => path === '/nowhere' && method === 'HEAD'), { status: 404 })
  t.equal((await fetch(`${service.url}/api/v1/events`, { method: 'HEAD' })).status, 404, 'a stream has no headers alone')
  t.equal((await fetch(`${service.url}/ui/index.html`)).status, 404)
  t.equal((await fetch(`${service.url}/ui/app.js.gz`)).status, 404, 'only files of the build are served')
  t.equal((await fetch(`${service.url}/sdapi/v1/txt2img`, { method: 'HEAD' })).status, 405)
})

t.test('no line contains a secret, in whatever request, error or careless call', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger, settings: { AUTH_TOKEN: 'auth-token-of-the-test' } })
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'Logged' })
  const headers = { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  await service.request('GET', '/api/v2/jobs?token=in-the-query', undefined, headers)
  await service.request('GET', '/api/v2/jobs', undefined, { authorization: 'Bearer wrong-token-that-nobody-knows' })
  await service.request('POST', '/api/v1/servers', {
    alias: 'Closed', apiUrl: 'http://127.0.0.1:9', username: 'somebody', password: 'server-password'
  })
  await service.request('POST', '/api/v1/servers/Closed/test')
  await service.request('POST', '/api/v2/generate', { generation_params: { ...quick, init_images: ['not-an-image'] } }, headers)
  logger.info({
    req: { headers: { authorization: 'Bearer careless', cookie: 'careless=1', 'x-api-secret': 'careless' } },
    server: { password: 'careless' },
    key: { secret: 'careless' }
  }, 'written without thought')

  const text = JSON.stringify(lines)
  t.match(text, 'written without thought')
  for (const forbidden of [
    secret, 'in-the-query', 'wrong-token-that-nobody-knows', 'server-password', 'auth-token-of-the-test', 'careless',
    'not-an-image'
  ]) t.notOk(text.includes(forbidden), forbidden)
})

t.test('an internal error is logged whole, as err, without the client\'s data', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger, worker: 'none' })
  const { redis } = service.services
  // The wrong type of this key makes Redis fail with an error that contains the command and its arguments.
  await redis.set(service.services.keys.key('arrival'), 'no number')
  const secretPrompt = 'a prompt that nobody may read'
  for (const [path, body] of [
    ['/api/v2/generate', { target_server_alias: 'default', generation_params: { ...quick, prompt: secretPrompt } }],
    ['/sdapi/v1/txt2img', { ...quick, prompt: secretPrompt }],
    ['/generate/txt2img', { ...quick, prompt: secretPrompt, user_id: 'u' }]
  ] as const) {
    lines.length = 0
    const { status, body: answer } = await service.request('POST', path, body)
    t.equal(status, 500, path)
    t.notMatch(JSON.stringify(answer), /arithmetic|script/, 'the caller learns nothing of our inside')
    const line = lines.find(({ level }) => level === 50)
    t.match(line, { err: { type: 'ReplyError', message: /nil value/, stack: /ReplyError: .*\n +at / } }, path)
    t.notOk(JSON.stringify(lines).includes(secretPrompt), 'without the arguments')
    t.notOk(lines.some(({ cause }) => cause !== undefined))
  }
})

t.test('a client that hangs up is not an internal error', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger, worker: 'none' })
  const { hostname, port } = new URL(service.url)
  const id = await service.submit(quick)
  const head = (method: string, path: string, length: number) => [
    `${method} ${path} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/json', `Content-Length: ${length}`, '', ''
  ].join('\r\n')
  const upload = 'Content-Type: multipart/form-data; boundary=b'
  const disconnectSignals: Array<[string, string]> = [
    ['the middle of a JSON body', `${head('POST', '/api/v2/generate', 5000)}{"generation_params": {`],
    ['the middle of a body of A1111', `${head('POST', '/sdapi/v1/txt2img', 5000)}{"prompt": "`],
    ['the middle of a body of bots', `${head('POST', '/generate/txt2img', 5000)}{"prompt": "`],
    ['the middle of a form', head('POST', '/api/v2/generate', 5000).replace('Content-Type: application/json', upload) +
      '--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\nPNG'],
    ['a wait', head('GET', `/api/v2/jobs/${id}?wait=60`, 0)],
    ['a generation of A1111', `${head('POST', '/sdapi/v1/txt2img', 15)}{"prompt": "x"}`],
    ['events', head('GET', '/api/v1/events', 0)]
  ]
  for (const [when, text] of disconnectSignals) {
    for (const way of ['destroy', 'resetAndDestroy'] as const) {
      lines.length = 0
      const socket = connect(Number(port), hostname)
      await once(socket, 'connect')
      const arrived = once(service.app.server, 'request')
      socket.write(text)
      await arrived
      if (/wait|generation|events/.test(when)) await until(() => socket.bytesWritten > 0)
      socket[way]()
      await until(() => lines.some(({ msg }) => /^request/.test(msg)))
      t.strictSame(lines.filter(({ level }) => level >= 40), [], `${when}, ${way}`)
    }
  }
  const { text } = (await service.request('GET', '/metrics')).body
  t.notMatch(String(text), /stablequeue_http_request\S*status="5/, 'and none is counted as one')
  t.match(String(text), /status="2/)
})

/** Retries until it succeeds. */
async function until (isThere: () => boolean): Promise<void> {
  while (!isThere()) await new Promise(resolve => { setTimeout(resolve, 5) })
}

t.test('the log gets an error\'s kind, message, stack, causes and system facts, and no text of clients', async t => {
  const inner = Object.assign(new Error('connect ECONNREFUSED redis://:hunter2@db:6379'), {
    code: 'ECONNREFUSED', port: 6379, command: { name: 'set', args: ['a', 'hunter2'] }
  })
  const outer = new Error('GET https://host/path?token=hunter2 failed with Bearer hunter2hunter2', { cause: inner })
  const many = new AggregateError([outer, 'text of http://u:hunter2@h'], 'several')
  const logged = serializeError(new Error('around', { cause: many })) as unknown as Record<string, never>
  t.match(logged, {
    type: 'Error',
    message: 'around',
    stack: /Error: around\n +at /,
    cause: {
      type: 'AggregateError',
      errors: [{ message: /host\/path/, cause: { code: 'ECONNREFUSED', port: 6379, message: /db:6379/ } }, { type: 'string' }]
    }
  })
  t.notMatch(JSON.stringify(logged), /hunter2|command/)

  for (const text of [
    "ERR unknown command 'X', with args beginning with: 'hunter2' 'b'",
    'whsec_hunter2abc is no secret', 'Basic aHVudGVyMg== was refused: basic hunter2hunter2'
  ]) t.notMatch(JSON.stringify(serializeError(new Error(text))), /hunter2|aHVud/)
  let broken: unknown
  try { JSON.parse('{"prompt": hunter2}') } catch (error) { broken = error }
  t.notMatch(JSON.stringify(serializeError(broken)), /hunter2/)

  const circle: Error & { cause?: unknown } = new Error('circle')
  circle.cause = circle
  t.match(serializeError(circle), { cause: { cause: { message: 'circle' } } })
  for (const odd of [undefined, null, 7, { message: 'hunter2' }]) t.notMatch(JSON.stringify(serializeError(odd)), /hunter2/)
})

t.end()
