import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import { registerFromSettings } from '../../src/servers/discover.ts'
import { quick, startService } from '../helper.ts'
import { pem, startGate } from './token-gate.ts'

const logged: string[] = []
const logger = pino({ level: 'trace' }, { write: (line: string) => { logged.push(line) } })
const service = await startService(t, { servers: {}, logger })
const servers = '/api/v1/servers'
const add = async (body: object) => await service.request('POST', servers, body)
const change = async (alias: string, body: object) => await service.request('PUT', `${servers}/${alias}`, body)
const look = async (alias: string) => (await service.request('POST', `${servers}/${alias}/test`)).body
const generate = async (alias: string) => {
  const { body } = await service.request('POST', '/api/v2/generate', { target_server_alias: alias, generation_params: quick })
  return await service.until(String(body.job_id), 'completed', 'failed')
}

const headers = { 'CF-Access-Client-Id': 'app.access', 'cf-access-client-secret': 'header-secret-1', Cookie: 'auth=cookie-secret' }

t.test('headers and bearer are sent with every request to their server, are sealed and never shown', async t => {
  const byHeaders = await startGate(t, service.simulator.url, ({ 'cf-access-client-secret': secret }) => secret === 'header-secret-1')
  const byBearer = await startGate(t, service.simulator.url, ({ authorization }) => authorization === 'Bearer bearer-secret-1')
  const answers = [
    (await add({ alias: 'Headers', apiUrl: byHeaders.url, headers })).body,
    (await add({ alias: 'Bearer', apiUrl: byBearer.url, bearer: 'Bearer bearer-secret-1' })).body
  ]
  t.match(answers, [
    { server: { has_headers: true, has_bearer: false, has_credentials: false, has_ca: false, tls_verify: true } },
    { server: { has_headers: false, has_bearer: true } }
  ])
  for (const alias of ['Headers', 'Bearer']) {
    t.match(await look(alias), { reachable: true })
    t.equal((await generate(alias)).status, 'completed')
    const passed = await service.request('GET', '/sdapi/v1/upscalers')
    t.equal(passed.status, 200)
  }
  const paths = new Set(byBearer.seen.map(({ path }) => path.split('?')[0]))
  for (const path of ['/sdapi/v1/txt2img', '/sdapi/v1/options', '/sdapi/v1/samplers', '/internal/progress']) {
    t.ok(paths.has(path), `${path} was asked for`)
  }
  t.ok(byBearer.seen.every(({ headers }) => headers.authorization === 'Bearer bearer-secret-1'))
  t.ok(byHeaders.seen.every(({ headers: sent }) =>
    sent['cf-access-client-id'] === 'app.access' && sent.cookie === 'auth=cookie-secret' && sent.authorization === undefined))

  // The proxy echoes the headers that it got; we must not.
  t.match((await change('Bearer', { bearer: 'bearer-secret-2' })).status, 200)
  t.match(await look('Bearer'), { reachable: false, server: { health: 'unauthorized' } })
  answers.push(await look('Bearer'), (await service.request('GET', servers)).body)
  answers.push((await service.request('GET', '/api/v1/events?wait=0')).body)
  const { redis, keys } = service.services
  const records = JSON.stringify(await redis.hgetall(keys.key('servers')))
  const streamed = JSON.stringify(await redis.xrange(keys.key('events'), '-', '+'))
  for (const text of [JSON.stringify(answers), records, streamed, logged.join('')]) {
    t.notMatch(text, /(bearer|header|cookie)-secret|app\.access/)
  }
})

t.test('missing fields stay, null removes, and another address discards them', async t => {
  const sendSlot = await startGate(t, service.simulator.url, ({ 'x-token': token }) => token === 'gate-token')
  const other = await startGate(t, service.simulator.url, () => true)
  await add({ alias: 'Kept', apiUrl: sendSlot.url, headers: { 'X-Token': 'gate-token' }, ca: pem('root'), tls_verify: false })
  t.match((await change('Kept', { description: 'the same', apiUrl: `${sendSlot.url}/` })).body,
    { server: { has_headers: true, has_ca: true, tls_verify: false } })
  t.match(await look('Kept'), { reachable: true })
  t.match((await change('Kept', { headers: { 'X-Token': 'wrong-token' } })).body, { server: { has_headers: true, has_ca: true } })
  t.match(await look('Kept'), { reachable: false })
  t.match((await change('Kept', { headers: null, ca: '', tls_verify: null })).body,
    { server: { has_headers: false, has_ca: false, tls_verify: true } })
  await change('Kept', { headers: { 'X-Token': 'gate-token' } })

  const moved = await change('Kept', { port: other.port })
  t.match(moved.body, { message: /dropped: headers\. Send it again/, server: { has_headers: false } })
  t.match(await look('Kept'), { reachable: true })
  t.notMatch(JSON.stringify(other.seen), /gate-token/)
  const back = await change('Kept', { apiUrl: sendSlot.url, headers: { 'X-Token': 'gate-token' }, username: 'ann', password: 'pass-word' })
  t.match(back.body, { message: 'Server Kept was changed.', server: { has_headers: true, has_credentials: true } })
  t.match((await change('Kept', { apiUrl: other.url })).body,
    { message: /dropped: user name and password, headers/, server: { has_headers: false, has_credentials: false } })
  await look('Kept')
  t.notMatch(JSON.stringify(other.seen), /gate-token|pass-word|authorization/i)
})

t.test('an invalid header is rejected with its field', async t => {
  const apiUrl = service.simulator.url
  const cases: Array<[body: object, field: string]> = [
    ...['Host', 'content-length', 'Connection', 'Transfer-Encoding', 'TE', 'Upgrade', 'Keep-Alive', 'Proxy-Authorization',
      'Trailer', 'HTTP2-Settings', 'Expect', 'Content-Type', 'Accept-Encoding'].map((name): [object, string] =>
      [{ headers: { [name]: 'x' } }, `headers.${name}`]),
    [{ headers: { 'X-A': 'a\r\nHost: b' } }, 'headers.X-A'],
    [{ headers: { 'X-A': 'a\nb' } }, 'headers.X-A'],
    [{ headers: { 'X-A': 'a\u0000b' } }, 'headers.X-A'],
    [{ headers: { 'X-A': 'пароль' } }, 'headers.X-A'],
    [{ headers: { 'X-A\r\nHost': 'b' } }, 'headers'],
    [{ headers: { 'X A': 'b' } }, 'headers'],
    [{ headers: { '': 'b' } }, 'headers'],
    [{ headers: { 'X-A': 'b', 'x-a': 'c' } }, 'headers.x-a'],
    [{ headers: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`X-${index}`, 'a'])) }, 'headers'],
    [{ bearer: 'a b' }, 'bearer'],
    [{ bearer: 'a\r\nX: y' }, 'bearer'],
    [{ bearer: 'a', username: 'ann', password: 'b' }, 'bearer'],
    [{ bearer: 'a', headers: { authorization: 'Token b' } }, 'headers.authorization'],
    [{ username: 'a', password: 'b', headers: { Authorization: 'Token b' } }, 'headers.Authorization'],
    [{ ca: 'no certificate' }, 'ca'],
    [{ ca: '-----BEGIN CERTIFICATE-----\nabcd\n-----END CERTIFICATE-----' }, 'ca'],
    [{ ca: pem('root') + pem('key') }, 'ca']
  ]
  for (const [body, field] of cases) {
    t.match(await add({ alias: 'Refused', apiUrl, ...body }),
      { status: 400, body: { success: false, error: 'invalid_field_value', message: String, details: { field } } }, JSON.stringify(body))
  }
  t.equal((await service.request('GET', `${servers}/Refused`)).status, 404)
})

t.test('no request follows a redirect', async t => {
  const victim = await startGate(t, service.simulator.url, () => true)
  let asked = 0
  const server = createServer((request, response) => {
    asked++
    request.resume()
    response.writeHead(request.method === 'GET' ? 302 : 307, { location: `${victim.url}${request.url}` }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  await add({ alias: 'Redirecting', host: '127.0.0.1', port, bearer: 'bearer-secret-3', headers: { 'X-Token': 'token-3' } })
  t.match(await look('Redirecting'), { reachable: false, message: /redirects elsewhere.*register the address that it leads to/ })
  const client = service.services.connect(service.services.registry.require('Redirecting'))
  await t.rejects(client.generate('txt2img', '{}', {
    deadlineMs: 10_000, maxAnswerBytes: 1000, createSink: async () => { throw new Error('there is no image') }
  }), { code: 'redirected' })
  await client.close()
  t.ok(asked > 1)
  t.equal(victim.seen.length, 0)
})

t.test('tokens added to a server of the settings survive a start', async t => {
  const { registry, config, reach } = service.services
  const settings = { ...config, SERVERS: ['Set=http://127.0.0.1:9'] }
  await registerFromSettings(registry, settings, reach)
  await change('Set', { bearer: 'bearer-secret-4' })
  await registerFromSettings(registry, settings, reach)
  t.equal(registry.byAlias('Set')?.address.bearer, 'bearer-secret-4')
  await registerFromSettings(registry, { ...config, SERVERS: ['Set=http://127.0.0.1:10'] }, reach)
  t.strictSame(registry.byAlias('Set')?.address, { baseUrl: 'http://127.0.0.1:10' })
})
