import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { errorStatuses } from '../../src/lib/errors.ts'
import { quick, startService, type Answer } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t, { worker: 'none' })

/** Whether an answer has the one shape of all errors and reveals no internals. */
function isOurs (t: Test, { status, body, headers }: Answer, what: string): void {
  t.match(body, {
    success: false,
    error: /^[a-z_]+$/,
    message: /^\S.+$/,
    details: { code: body.error as string, timestamp: /^\d{4}-.*Z$/, request_id: String }
  }, what)
  t.equal(status, errorStatuses[body.error as keyof typeof errorStatuses], `${what}: its status follows from its code`)
  t.match(headers.get('content-type'), /^application\/json/)
  const inside = /node_modules|\.ts:\d|\bat [A-Z]\w+\.|\/work\/|\/tmp\/|file:\/\//
  t.notMatch(JSON.stringify(body), inside, `${what}: no stack, no path`)
}

t.test('every error has the one shape', async t => {
  const { headers: key } = await keyHeaders(service, { scopes: ['jobs:read'] })
  const json = { 'content-type': 'application/json' }
  const cases: Array<[
    status: number, method: string, path: string, body?: string | undefined, headers?: Record<string, string>
  ]> = [
    [404, 'GET', '/api/v1/samplers-of-none'],
    [404, 'POST', '/api/v2/nothing', '{}'],
    [405, 'DELETE', '/api/v1/servers'],
    [404, 'GET', '/api'],
    [404, 'GET', '/nowhere'],
    [404, 'GET', '/api/v2/jobs/none/status'],
    [404, 'GET', `/api/v2/jobs/${'x'.repeat(64)}`],
    [400, 'GET', `/api/v2/jobs/${'x'.repeat(65)}`],
    [414, 'GET', `/api/v2/jobs/${'x'.repeat(600)}`],
    [400, 'GET', '/api/v2/jobs/%zz'],
    [400, 'GET', '/api/v1/servers/%E0%A4%A'],
    [400, 'POST', '/api/v2/generate', '{"a": x}', json],
    [400, 'POST', '/api/v2/generate', '{"__proto__": {}}', json],
    [400, 'POST', '/api/v2/generate', '[]', json],
    [400, 'POST', '/api/v2/generate', '"text"', json],
    [413, 'POST', '/api/v2/generate', `"${'x'.repeat(65 * 1_048_576)}"`, json],
    [415, 'POST', '/api/v2/generate', '<a/>', { 'content-type': 'text/xml' }],
    [415, 'POST', '/api/v1/servers', '--x--', { 'content-type': 'multipart/form-data; boundary=x' }],
    [401, 'GET', '/api/v2/jobs', undefined, { 'x-api-key': 'mk_0', 'x-api-secret': '0' }],
    [401, 'GET', '/api/v2/jobs', undefined, { authorization: 'Bearer nonsense' }],
    [403, 'POST', '/api/v2/generate', '{}', { ...json, ...key }],
    [403, 'GET', '/api/v1/api-keys', undefined, key],
    [403, 'GET', '/api/v2/jobs', undefined, { origin: 'http://evil.example' }]
  ]
  for (const [status, method, path, body, headers] of cases) {
    const answer = await service.request(method, path, body, headers)
    t.equal(answer.status, status, `${method} ${path.slice(0, 60)}`)
    isOurs(t, answer, `${method} ${path.slice(0, 60)}`)
  }
})

t.test('an error names every wrong field, the first of them as `field`', async t => {
  const { body } = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 5, priority: 11, generation_params: { steps: 0, width: 0 }
  })
  const { field, fields } = body.details as { field: string, fields: Array<{ field: string, message: string }> }
  t.same(fields.map(({ field: name }) => name).sort(),
    ['generation_params.steps', 'generation_params.width', 'priority', 'target_server_alias'])
  t.ok(fields.some(({ field: name }) => name === field))
  for (const { field: name, message } of fields) t.ok(message.startsWith(name), message)
})

t.test('while Redis is away requests get 503 at once, /health stays 200 and /ready names the problem', async t => {
  const down = await startService(t)
  t.match(await down.request('GET', '/ready'), { status: 200, body: { status: 'ready', checks: { redis: { ok: true }, workers: { ok: true } } } })
  await down.redis.kill()
  const calls: Array<[method: string, path: string, body?: object]> = [
    ['GET', '/api/v2/jobs'], ['GET', '/api/v2/jobs/none'], ['GET', '/api/v1/servers'],
    ['POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: quick }]
  ]
  for (const [method, path, body] of calls) {
    const answer = await down.request(method, path, body)
    t.equal(answer.status, 503, `${method} ${path}`)
    isOurs(t, answer, `${method} ${path}`)
  }
  t.match(await down.request('GET', '/ready'), { status: 503, body: { status: 'not ready', checks: { redis: { ok: false } } } })
  t.match(await down.request('GET', '/health'), { status: 200, body: { status: 'healthy' } })
  t.equal((await down.request('GET', '/status')).status, 200)
  await down.redis.restart()
})

t.test('health needs no key and is public', async t => {
  for (const path of ['/health', '/status', '/openapi.json', '/docs/', '/doc/']) {
    t.equal((await service.request('GET', path, undefined, { 'x-api-key': '', 'x-api-secret': '' })).status, 200, path)
  }
})

t.test('input that is not HTTP is rejected without internals in the answer', async t => {
  const { port } = new URL(service.url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.end('GARBAGE\r\n\r\n')
  const answer = await text(socket)
  t.match(answer, /^HTTP\/1\.1 400 /)
  t.notMatch(answer, /node_modules|\.ts|stack/)
})

t.test('a malformed request is rejected in the same shape', async t => {
  const { hostname, port } = new URL(service.url)
  for (const [sent, status] of [
    ['HELLO\r\n\r\n', 400], ['GET / HTTP/9.9\r\n\r\n', 400], ['\x16\x03\x01\x02\x00', 400],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
    [`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['POST /api/v2/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n', 400]
  ] as const) {
    const socket = connect(Number(port), hostname)
    socket.write(sent, 'latin1')
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
    const headers = new Headers(head.split('\r\n').slice(1).map(line => line.split(': ') as [string, string]))
    const what = sent.slice(0, 40)
    isOurs(t, { status: Number(head.split(' ')[1]), body: JSON.parse(body) as Answer['body'], headers }, what)
    t.match({ head, nosniff: headers.get('x-content-type-options') },
      { head: new RegExp(`^HTTP/1.1 ${status} `), nosniff: 'nosniff' }, what)
  }
})
