import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { scopes } from '../../schemas/api-key.ts'
import { adminToken, authToken, keyHeaders, openDoor, openRedis } from '../access/door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())

const unsafeRoutes = [
  ['POST', '/jobs'], ['PUT', '/models'], ['DELETE', '/servers'], ['POST', '/undeclared'],
  ['POST', '/api/v1/api-keys'], ['POST', '/api/v1/api-keys/setup'],
  ['POST', '/ui/session'], ['DELETE', '/ui/session']
] as const
const safeRoutes = [
  ['GET', '/who'], ['GET', '/job'], ['GET', '/health'], ['GET', '/api/v1/api-keys'], ['GET', '/api/v1/api-keys/setup'],
  ['GET', '/ui/session']
] as const
const otherPeer = '192.168.1.5'
const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Sends exactly these lines and returns the status of the answer. */
async function sendRaw (app: FastifyInstance, lines: string[]): Promise<number> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write([...lines, 'Connection: close', '', ''].join('\r\n'))
  let answer = ''
  socket.setEncoding('latin1')
  for await (const chunk of socket) answer += chunk
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1])
}

t.test('a request for a foreign name reaches no route', async t => {
  const { app, changes } = await openDoor(connections)
  t.after(async () => await app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const refused = [
    ['Host: evil.example'], ['Host: 127.0.0.1.evil.example'], ['Host: localhost.evil.example'], ['Host:'],
    ['Host: localhost', 'Host: localhost'], ['Host: localhost', 'Host: evil.example'], ['Host: evil.example', 'Host: localhost'],
    ['Host: localhost@evil.example'], ['Host: localhost,evil.example'], ['Host: evil.example:3000'],
    ['Host: evil.example', 'X-Forwarded-Host: localhost'], ['Host: 2130706433'], ['Host: localhost:3000:3000'],
    ['Host: [localhost]'], ['Host: evil.example.']
  ]
  t.equal(refused.length, 15)
  for (const [method, path] of [...safeRoutes, ...unsafeRoutes, ['GET', '/nowhere'], ['OPTIONS', '/jobs']] as const) {
    const statuses = await Promise.all(refused.map(async hosts => await sendRaw(app, [`${method} ${path} HTTP/1.1`, ...hosts])))
    t.strictSame(statuses, refused.map(() => 421), `${method} ${path}`)
  }
  t.equal(await sendRaw(app, ['GET /health HTTP/1.0']), 421, 'no Host in HTTP/1.0')
  t.equal(await sendRaw(app, ['GET /health HTTP/1.0', 'X-Forwarded-Host: localhost']), 421)
  t.equal(await sendRaw(app, ['GET /health HTTP/1.1']), 400, 'no Host in HTTP/1.1 is refused by Node')
  t.equal(await sendRaw(app, ['GET http://localhost/health HTTP/1.1', 'Host: evil.example']), 421, 'the Host counts, not the target')
  for (const host of ['127.0.0.1', 'localhost:1', '[::1]:3000', 'LOCALHOST', 'app.localhost']) {
    t.equal(await sendRaw(app, ['GET /who HTTP/1.1', `Host: ${host}`]), 200, host)
  }
  t.strictSame(changes, [])
})

t.test('a page of another origin changes nothing, in whatever way it asks', async t => {
  const { app, accessKeys, changes } = await openDoor(connections)
  t.after(async () => await app.close())
  const foreign: Array<Record<string, string>> = [
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:7860' },
    { origin: 'https://localhost' },
    { origin: 'http://localhost.evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    { origin: 'http://evil.example', 'x-requested-with': 'ui' },
    { origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' },
    { origin: 'http://localhost', 'sec-fetch-site': 'cross-site' },
    // Our own origin, but without the header that only our own script can add.
    { origin: 'http://localhost' },
    { 'sec-fetch-site': 'none' },
    { cookie: 'sq_session_0=guess' }
  ]
  const contents = [
    {},
    { headers: { 'content-type': 'text/plain' }, payload: '{"name":"evil","token":"x"}' },
    { headers: { 'content-type': 'application/json' }, payload: { name: 'evil', token: 'x' } },
    { headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: 'name=evil' },
    { headers: { 'content-type': 'multipart/form-data; boundary=b' }, payload: '--b--' }
  ]
  for (const [method, url] of unsafeRoutes) {
    for (const headers of foreign) {
      for (const content of contents) {
        const answer = await app.inject({ method, url, ...content, headers: { host: 'localhost', ...content.headers, ...headers } })
        if (answer.statusCode !== 403) t.fail(`${method} ${url} ${JSON.stringify(headers)} answered ${answer.statusCode}`)
      }
    }
  }
  for (const [method, url] of unsafeRoutes.slice(0, 6)) {
    const answer = await app.inject({ method, url, headers: { 'content-type': 'text/plain' }, payload: '{}' })
    t.equal(answer.statusCode, 415, `${method} ${url} takes no text/plain, even from this machine`)
  }
  t.strictSame(changes, [])
  t.ok(await accessKeys.isEmpty())
})

t.test('a page of another origin reads only public answers', async t => {
  const { app } = await openDoor(connections)
  t.after(async () => await app.close())
  const status = async (url: string, headers: Record<string, string>) =>
    (await app.inject({ url, headers: { host: 'localhost:80', ...headers } })).statusCode
  const navigation = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal(await status('/who', { origin: 'http://evil.example' }), 403)
  t.equal(await status('/who', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' }), 403)
  t.equal(await status('/who', navigation), 403)
  t.equal(await status('/health', { origin: 'http://evil.example' }), 403)
  t.equal(await status('/health', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }), 403)
  t.equal(await status('/health', { ...navigation, 'sec-fetch-dest': 'iframe' }), 403)
  t.equal(await status('/health', navigation), 200, 'a link may be followed')
  t.equal(await status('/health', { origin: 'http://localhost:7860' }), 200, 'an allowed origin may look')
  t.equal(await status('/who', { 'sec-fetch-site': 'same-origin' }), 200)
  t.equal(await status('/who', { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }), 200)
})

t.test('programs on this machine need neither key nor special header, our own page only a mark', async t => {
  const { app, changes } = await openDoor(connections)
  t.after(async () => await app.close())
  const post = async (headers: Record<string, string>) =>
    (await app.inject({ method: 'POST', url: '/jobs', headers: { host: 'localhost:3000', ...headers } })).statusCode
  t.equal(await post({}), 200, 'like curl')
  t.equal(await post({ 'sec-fetch-mode': 'cors', 'user-agent': 'node' }), 200, 'like fetch of Node')
  t.equal(await post({ origin: 'http://localhost:3000', 'x-requested-with': 'ui' }), 200)
  t.equal(await post({ 'sec-fetch-site': 'same-origin', origin: 'http://localhost:3000', 'x-requested-with': 'ui' }), 200)
  t.equal(changes.length, 4)
})

t.test('access without credentials follows the table', async t => {
  const networks = { UI_AUTH: 'none', UI_TRUSTED_CIDRS: '192.168.1.0/24' }
  const table: Array<[Record<string, string>, string, boolean, number]> = [
    [{ UI_AUTH: 'auto' }, '127.0.0.1', false, 200],
    [{ UI_AUTH: 'auto' }, '127.0.0.1', true, 401],
    [{ UI_AUTH: 'auto' }, otherPeer, false, 401],
    [{ UI_AUTH: 'auto' }, otherPeer, true, 401],
    [{ UI_AUTH: 'auto', HOST: '0.0.0.0' }, '127.0.0.1', false, 401],
    [{ UI_AUTH: 'auto', HOST: '0.0.0.0' }, otherPeer, false, 401],
    [{ UI_AUTH: 'token' }, '127.0.0.1', false, 401],
    [{ UI_AUTH: 'token' }, '127.0.0.1', true, 401],
    [{ UI_AUTH: 'token' }, otherPeer, false, 401],
    [networks, '127.0.0.1', false, 401],
    [networks, otherPeer, false, 200],
    [networks, otherPeer, true, 401],
    [{ ...networks, TRUSTED_PROXIES: otherPeer }, otherPeer, true, 401],
    [{ ...networks, TRUSTED_PROXIES: otherPeer, UI_TRUSTED_CIDRS: '127.0.0.0/8' }, otherPeer, true, 200]
  ]
  for (const [environment, remoteAddress, forwarded, expected] of table) {
    const { app } = await openDoor(connections, environment)
    const headers = forwarded ? { 'x-forwarded-for': '127.0.0.1' } : {}
    const answer = await app.inject({ url: '/who', remoteAddress, headers })
    t.equal(answer.statusCode, expected, `${JSON.stringify(environment)} from ${remoteAddress}${forwarded ? ', forwarded' : ''}`)
    const withToken = await app.inject({ url: '/who', remoteAddress, headers: { ...headers, authorization: `Bearer ${adminToken}` } })
    t.equal(withToken.statusCode, 200, 'the admin token is good everywhere')
    await app.close()
  }
})

t.test('every form of credentials identifies its client', async t => {
  const { app, accessKeys } = await openDoor(connections)
  t.after(async () => await app.close())
  const issued = await accessKeys.create({ name: 'Forge' })
  const pair = { key: issued.accessKey.key, secret: issued.secret }
  const encoded = base64(`${pair.key}:${pair.secret}`)
  const ask = async (headers: Record<string, string>) => await app.inject({ url: '/who', remoteAddress: otherPeer, headers })

  for (const headers of [
    keyHeaders(pair), { authorization: `Bearer ${encoded}` }, { authorization: `basic ${encoded}` },
    { ...keyHeaders(pair), authorization: `Bearer ${encoded}` }
  ]) {
    const answer = await ask(headers)
    t.strictSame(answer.json(), { kind: 'key', name: 'Forge', keyId: issued.accessKey.id })
  }
  for (const token of [adminToken, authToken]) {
    t.match((await ask({ authorization: `Bearer ${token}` })).json(), { kind: 'token', keyId: null })
    t.match((await ask({ authorization: `bearer ${token}` })).json(), { kind: 'token' })
  }

  const refused: Array<[Record<string, string>, number, string, string]> = [
    [{}, 401, 'authentication_required', 'Bearer'],
    [{ 'x-api-key': '', 'x-api-secret': '' }, 401, 'authentication_required', 'Bearer'],
    [{ 'x-api-key': pair.key }, 401, 'authentication_required', 'Bearer'],
    [keyHeaders({ ...pair, secret: 'wrong' }), 401, 'invalid_api_key', 'Bearer'],
    [{ authorization: `Bearer ${pair.key}` }, 401, 'invalid_api_key', 'Bearer'],
    [{ authorization: `Bearer ${base64(`${pair.key}:wrong`)}` }, 401, 'invalid_api_key', 'Bearer'],
    [{ authorization: `Bearer ${pair.secret}` }, 401, 'invalid_api_key', 'Bearer'],
    [{ authorization: `Bearer ${adminToken}x` }, 401, 'invalid_api_key', 'Bearer'],
    [{ authorization: 'Basic !!' }, 401, 'invalid_api_key', 'Basic'],
    [{ authorization: `Basic ${base64('mk_1:x')}` }, 401, 'invalid_api_key', 'Basic'],
    [{ authorization: `Bearer ${'a'.repeat(10_000)}` }, 401, 'invalid_api_key', 'Bearer'],
    [{ ...keyHeaders(pair), authorization: `Bearer ${authToken}` }, 400, 'ambiguous_credentials', '']
  ]
  for (const [headers, status, code, scheme] of refused) {
    const answer = await ask(headers)
    t.match(answer.json(), { success: false, error: code }, `${JSON.stringify(headers).slice(0, 60)} is ${code}`)
    t.equal(answer.statusCode, status)
    t.equal((answer.headers['www-authenticate'] ?? '').toString().split(' ')[0], scheme)
  }
  const local = await app.inject({ url: '/who', headers: { 'x-api-key': '', 'x-api-secret': '' } })
  t.equal(local.statusCode, 401, 'empty key headers are missing credentials at this machine too')

  await accessKeys.update(issued.accessKey.id, { active: false })
  for (const headers of [keyHeaders(pair), { authorization: `Bearer ${encoded}` }]) {
    const { message } = (await ask(headers)).json()
    t.equal(message, 'This access key and secret do not fit, or the key is switched off', 'a key that is switched off')
  }
})

t.test('credentials that a browser adds by itself give no access to other pages', async t => {
  const { app, accessKeys, changes } = await openDoor(connections)
  t.after(async () => await app.close())
  const { accessKey: { key }, secret } = await accessKeys.create({ name: 'a' })
  const post = async (headers: Record<string, string>) =>
    (await app.inject({ method: 'POST', url: '/jobs', headers, remoteAddress: otherPeer })).statusCode
  const basic = { authorization: `Basic ${base64(`${key}:${secret}`)}` }
  t.equal(await post({ ...basic, origin: 'http://evil.example' }), 403)
  t.equal(await post({ ...basic, 'sec-fetch-site': 'cross-site' }), 403)
  t.equal(changes.length, 0)
  t.equal(await post(basic), 200)
  t.equal(await post({ ...basic, origin: 'http://localhost:7860', 'sec-fetch-site': 'cross-site' }), 200)
  t.equal(await post({ ...keyHeaders({ key, secret }), origin: 'http://localhost:7860', 'sec-fetch-site': 'cross-site' }), 200)
})

t.test('a scope opens its routes and no other, and a route without one needs all rights', async t => {
  const { app, accessKeys } = await openDoor(connections)
  t.after(async () => await app.close())
  const needs: Array<[InjectOptions['method'], string, string]> = [
    ['GET', '/who', 'jobs:read'], ['GET', '/job', 'jobs:read'], ['POST', '/jobs', 'jobs:write'],
    ['PUT', '/models', 'models:write'], ['DELETE', '/servers', 'servers:admin'], ['POST', '/undeclared', '*'],
    ['GET', '/api/v1/api-keys', 'keys:admin']
  ]
  for (const scope of scopes) {
    const issued = await accessKeys.create({ name: scope, scopes: [scope], ratePerMinute: null })
    const headers = keyHeaders({ key: issued.accessKey.key, secret: issued.secret })
    for (const [method = 'GET', url, needed] of needs) {
      const answer = await app.inject({ method, url, headers, remoteAddress: otherPeer })
      t.equal(answer.statusCode, scope === needed || scope === '*' ? 200 : 403, `${scope} on ${method} ${url}`)
    }
  }
  const unknown = await app.inject({ url: '/nowhere', remoteAddress: otherPeer })
  t.equal(unknown.statusCode, 404, 'every client can learn that a route does not exist')
})

t.test('the admin token opens a session, whose cookie serves our own pages only', async t => {
  const { app, changes } = await openDoor(connections, { HOST: '0.0.0.0' })
  t.after(async () => await app.close())
  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, headers: Record<string, string>, token?: string) =>
    await app.inject({
      method, url, headers: { host: 'localhost', ...headers }, remoteAddress: otherPeer, ...(token && { payload: { token } })
    })
  const own = { origin: 'http://localhost', 'sec-fetch-site': 'same-origin' }

  const wrong = await call('POST', '/ui/session', {}, 'wrong')
  t.equal(wrong.statusCode, 401)
  t.notOk('set-cookie' in wrong.headers)
  const opened = await call('POST', '/ui/session', { ...own, 'x-requested-with': 'ui' }, adminToken)
  t.equal(opened.statusCode, 204)
  const setCookie = String(opened.headers['set-cookie'])
  t.match(setCookie, /^sq_session_0=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=604800$/)
  const cookie = { cookie: setCookie.split(';')[0] ?? '' }

  t.match((await call('GET', '/ui/session', cookie)).json(), { kind: 'session', name: 'session', role: 'admin', key_id: null })
  t.equal((await call('POST', '/jobs', { ...cookie, ...own })).statusCode, 200)
  t.equal((await call('POST', '/jobs', { ...cookie, origin: 'http://localhost:7860' })).statusCode, 403)
  t.equal((await call('POST', '/jobs', { ...cookie, 'sec-fetch-site': 'same-site' })).statusCode, 403)
  t.equal((await call('POST', '/jobs', { cookie: 'sq_session_0=guess' })).statusCode, 401)
  t.strictSame(changes, ['jobs'])

  const ended = await call('DELETE', '/ui/session', { ...cookie, ...own, 'x-requested-with': 'ui' })
  t.match(String(ended.headers['set-cookie']), /^sq_session_0=; .*Max-Age=0$/)
  t.equal((await call('GET', '/ui/session', cookie)).statusCode, 401)
})

t.end()
