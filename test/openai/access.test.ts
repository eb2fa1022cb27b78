import t from 'tap'
import { quick, startService } from '../helper.ts'
import { bearer, small } from './client.ts'

const service = await startService(t, {
  worker: 'none', settings: { CORS_ORIGINS: 'https://chat.example', AUTH_TOKEN: 'the-admin-token-of-this-test', RATE_LIMIT_PER_MINUTE: '0', BODY_LIMIT_MIB: '16' }
})
const open = await startService(t, { worker: 'none', redis: service.redis, settings: { REDIS_PREFIX: 'open' } })
const routes = [
  ['GET', '/v1/models', undefined], ['GET', '/v1/models/any', undefined], ['POST', '/v1/images/generations', small],
  ['POST', '/v1/images/edits', { prompt: 'x', image: 'x' }], ['POST', '/v1/images/variations', undefined]
] as const

t.test('a bearer token is always needed, also at this machine and where no key exists', async t => {
  for (const [method, path, body] of routes) {
    for (const [name, headers] of [
      ['none', {}], ['an empty one', { authorization: 'Bearer ' }], ['a wrong one', { authorization: `Bearer ${'f'.repeat(64)}` }],
      ['a word', { authorization: 'Bearer sk-none' }], ['Basic', { authorization: `Basic ${Buffer.from('a:b').toString('base64')}` }]
    ] as const) {
      // Wrong ones count: ten of an address are tolerated.
      await service.services.redis.flushdb()
      const answer = await open.request(method, path, body, headers)
      t.match(answer, {
        status: 401, body: { error: { message: String, type: 'invalid_request_error', param: null, code: 'invalid_api_key' } }
      }, `${path} with ${name}: ${JSON.stringify(answer.body)}`)
      t.match(answer.headers.get('www-authenticate'), /^B/)
    }
  }
})

t.test('the secret of a key is enough, and so are the pair and the admin token', async t => {
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'a client' })
  for (const token of [secret, Buffer.from(`${accessKey.key}:${secret}`).toString('base64'), 'the-admin-token-of-this-test']) {
    t.equal((await service.request('GET', '/v1/models', undefined, { authorization: `Bearer ${token}` })).status, 200)
  }
  const headers = { 'X-API-Key': accessKey.key, 'X-API-Secret': secret }
  t.equal((await service.request('GET', '/v1/models', undefined, headers)).status, 401)
  t.equal((await service.request('GET', '/api/v2/jobs', undefined, { authorization: `Bearer ${secret}` })).status, 401,
    'a secret alone opens nothing else')
})

t.test('scopes hold', async t => {
  const reader = await bearer(service, { scopes: ['models:read'] })
  const writer = await bearer(service, { scopes: ['jobs:write'] })
  const forbidden = (scope: string) => ({ status: 403, body: { error: { code: 'missing_scope', message: new RegExp(scope) } } })
  t.equal((await service.request('GET', '/v1/models', undefined, reader)).status, 200)
  t.match(await service.request('POST', '/v1/images/generations', small, reader), forbidden('jobs:write'))
  t.match(await service.request('GET', '/v1/models', undefined, writer), forbidden('models:read'))
})

t.test('pages of other origins are refused with a key too, unless they may call', async t => {
  const key = await bearer(service)
  for (const [headers, status] of [
    [{ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 403], [{ origin: 'null' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403], [{ origin: service.url, 'sec-fetch-site': 'same-origin' }, 200],
    [{ origin: 'https://chat.example', 'sec-fetch-site': 'cross-site' }, 200], [{ host: 'evil.example' }, 421]
  ] as const) {
    const { statusCode, body } = await service.app.inject({ method: 'GET', url: '/v1/models', headers: { host: '127.0.0.1', ...key, ...headers, ...('origin' in headers && headers.origin === service.url ? { host: service.url.slice(7) } : {}) } })
    t.equal(statusCode, status, `${JSON.stringify(headers)} ${body}`)
    if (status !== 200) t.match(JSON.parse(body), { error: { message: String, type: 'invalid_request_error', param: null, code: String } })
  }
  const preflight = await service.app.inject({
    method: 'OPTIONS', url: '/v1/images/generations', headers: { host: '127.0.0.1', origin: 'https://chat.example', 'access-control-request-method': 'POST' }
  })
  t.match(String(preflight.headers['access-control-allow-headers']), /X-Stainless-OS/, 'the package calls from pages')
})

t.test('everything else is answered in OpenAI\'s shape, too', async t => {
  const key = await bearer(service)
  const json = { ...key, 'content-type': 'application/json' }
  for (const [method, path, headers, body, status, code] of [
    ['GET', '/v1/nothing', {}, undefined, 404, 'unknown_url'],
    ['POST', '/v1/images', {}, '{}', 404, 'unknown_url'],
    ['GET', '/v1/images/generations', {}, undefined, 405, 'method_not_supported'],
    ['DELETE', '/v1/models/any', {}, undefined, 405, 'method_not_supported'],
    ['POST', '/v1/images/generations', { ...key, 'content-type': 'text/plain' }, 'x', 415, 'unsupported_media_type'],
    ['POST', '/v1/images/generations', { ...key, 'content-type': 'multipart/form-data; boundary=x' }, '--x--', 415, 'unsupported_media_type'],
    ['POST', '/v1/images/variations', json, '{}', 415, 'unsupported_media_type'],
    ['POST', '/v1/images/generations', json, `{"prompt":"${'x'.repeat(26_000_000)}"}`, 413, 'payload_too_large'],
    ['GET', '/v1/%zz', key, undefined, 400, 'malformed_request']
  ] as const) {
    const answer = await fetch(service.url + path, { method, headers, ...(body === undefined ? {} : { body }) })
    t.equal(answer.status, status, path)
    t.match(await answer.json(), { error: { message: String, type: 'invalid_request_error', code } }, path)
  }
})

t.test('a key\'s rate limit, its limit of waiting jobs and wrong keys answer 429', async t => {
  const limited = await bearer(service, { ratePerMinute: 1 })
  await service.request('POST', '/v1/images/generations', {}, limited)
  const refused = await service.request('POST', '/v1/images/generations', {}, limited)
  t.match(refused, { status: 429, body: { error: { type: 'requests', code: 'rate_limit_exceeded' } } })
  t.ok(Number(refused.headers.get('retry-after')) > 0)
  const statuses: number[] = []
  for (let count = 0; count < 12; count++) {
    const { status, body } = await service.request('GET', '/v1/models', undefined, { authorization: `Bearer ${'e'.repeat(64)}` })
    if (status === 429) t.match(body, { error: { type: 'requests', code: 'too_many_failed_logins' } })
    statuses.push(status)
  }
  t.strictSame([...new Set(statuses)], [401, 429])
  t.equal((await service.request('GET', '/v1/models', undefined, await bearer(service))).status, 200, 'right ones still work')
})

t.test('the other routes need no key at this machine, as before', async t => {
  t.equal((await open.request('POST', '/api/v2/generate', { prompt: quick.prompt })).status, 202)
  t.equal((await open.request('POST', '/sdapi/v1/txt2img?async=1', quick)).status, 202)
})

t.end()
