import t from 'tap'
import { keyHeaders, openDoor, openRedis } from '../access/door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())

const page = 'http://localhost:7860'
const otherPeer = '192.168.1.5'

t.test('a preflight is answered before any key is required', async t => {
  const { app } = await openDoor(connections, { UI_AUTH: 'token' })
  t.after(async () => await app.close())
  for (const url of ['/jobs', '/api/v1/api-keys', '/undeclared', '/nowhere', '/api/v1/api-keys/some-id/rotate']) {
    const answer = await app.inject({
      method: 'OPTIONS',
      url,
      remoteAddress: otherPeer,
      headers: {
        origin: page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,x-api-key,x-api-secret',
        'access-control-request-private-network': 'true'
      }
    })
    t.equal(answer.statusCode, 204, url)
    t.equal(answer.body, '')
    t.match(answer.headers, {
      'access-control-allow-origin': page,
      vary: 'Origin',
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-max-age': '600',
      'access-control-allow-private-network': 'true'
    })
    const allowed = String(answer.headers['access-control-allow-headers']).toLowerCase().split(', ')
    for (const name of ['origin', 'accept', 'content-type', 'authorization', 'x-api-key', 'x-api-secret', 'x-requested-with']) {
      t.ok(allowed.includes(name), `${name} may be sent`)
    }
    t.notOk('access-control-allow-credentials' in answer.headers, 'cookies never cross origins')
  }
})

t.test('only the exact origins of CORS_ORIGINS are allowed', async t => {
  const { app } = await openDoor(connections, { CORS_ORIGINS: 'http://localhost:7860,https://ui.example' })
  t.after(async () => await app.close())
  const allowed = async (origin: string) => {
    const { headers } = await app.inject({
      method: 'OPTIONS',
      url: '/jobs',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-private-network': 'true' }
    })
    t.equal(headers.vary, 'Origin')
    t.equal(headers['access-control-allow-origin'] !== undefined, headers['access-control-allow-private-network'] !== undefined)
    return headers['access-control-allow-origin']
  }
  t.equal(await allowed('http://localhost:7860'), 'http://localhost:7860')
  t.equal(await allowed('https://ui.example'), 'https://ui.example')
  for (const origin of [
    'http://localhost:78600', 'http://localhost:7861', 'https://localhost:7860', 'http://localhost:7860.evil.example',
    'http://evil.example', 'null', 'http://127.0.0.1:7860', 'https://ui.example.evil.example', 'https://evil-ui.example'
  ]) t.equal(await allowed(origin), undefined, origin)
})

t.test('an answer to no page says only that it depends on the origin', async t => {
  const { app } = await openDoor(connections)
  t.after(async () => await app.close())
  for (const headers of [{}, { origin: 'http://evil.example' }]) {
    const answer = await app.inject({ url: '/who', headers })
    t.equal(answer.headers.vary, 'Origin')
    t.same(Object.keys(answer.headers).filter(name => name.startsWith('access-control-')), [])
  }
})

t.test('a page with a key can read every answer, whatever its status', async t => {
  const { app, accessKeys } = await openDoor(connections, { UI_AUTH: 'token' })
  t.after(async () => await app.close())
  const { accessKey: { key }, secret } = await accessKeys.create({ name: 'page', ratePerMinute: 5 })
  const headers = { origin: page, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }
  const good = { ...headers, ...keyHeaders({ key, secret }) }
  const expected: Array<[string, 'GET' | 'POST' | 'PUT', string, Record<string, string>]> = [
    ['200', 'GET', '/who', good],
    ['200', 'POST', '/jobs', good],
    ['200', 'GET', '/health', headers],
    ['401', 'GET', '/who', { ...headers, 'x-api-key': '', 'x-api-secret': '' }],
    ['401', 'GET', '/who', { ...headers, ...keyHeaders({ key, secret: 'wrong' }) }],
    ['403', 'GET', '/who', headers],
    ['403', 'PUT', '/models', good],
    ['404', 'GET', '/nowhere', good],
    ['404', 'POST', '/nowhere', good],
    ['500', 'GET', '/broken', good],
    ['415', 'POST', '/jobs', { ...good, 'content-type': 'text/plain' }],
    ['400', 'POST', '/jobs', { ...good, 'content-type': 'application/json' }],
    ['429', 'GET', '/who', good]
  ]
  for (const [status, method, url, given] of expected) {
    const answer = await app.inject({
      method, url, headers: given, remoteAddress: otherPeer, ...(given['content-type'] && { payload: '{' })
    })
    t.equal(`${answer.statusCode}`, status, `${method} ${url} is ${status}`)
    t.match(answer.headers, { 'access-control-allow-origin': page, vary: 'Origin' }, `and ${method} ${url} can be read`)
    const exposed = String(answer.headers['access-control-expose-headers']).toLowerCase().split(', ')
    for (const name of [
      'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'ratelimit-policy', 'retry-after', 'x-request-id', 'location'
    ]) t.ok(exposed.includes(name), `${name} can be read`)
  }
})

t.end()
