import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { createRequestPrefix } from '../../plugins/core/prefix.ts'
import { quick, startService, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

const redis = await startTestRedis()
t.teardown(redis.stop)
const token = 'token-of-the-operator'
const bearer = { authorization: `Bearer ${token}` }
const start = async (name: string, settings: Record<string, string>) => await startService(t, {
  redis, settings: { AUTH_TOKEN: token, REDIS_PREFIX: name, ...settings }
})
/** All requests of these tests come from this proxy. */
const named = await start('named', { TRUSTED_PROXIES: '127.0.0.1' })
const given = await start('given', { PUBLIC_URL: 'http://localhost:1/queue/' })

/** Every address in an answer that is not below the prefix. */
function misplaced (value: unknown, prefix: string): string[] {
  if (typeof value === 'string') {
    return /^\/(?:api|outputs|loras|generate|sdapi|docs|ui)\//.test(value) && prefix !== '' ? [value] : []
  }
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(part => misplaced(part, prefix))
}

const ways: Array<[title: string, service: Service, prefix: string, path: string, headers: Record<string, string>]> = [
  ['named by a trusted proxy that strips it', named, '/tools/queue', '', { 'x-forwarded-prefix': '/tools/queue' }],
  ['named by a trusted proxy that keeps it', named, '/tools/queue', '/tools/queue', { 'x-forwarded-prefix': '/tools/queue/' }],
  ['of PUBLIC_URL, behind a proxy that strips it', given, '/queue', '', {}],
  ['of PUBLIC_URL, behind a proxy that keeps it', given, '/queue', '/queue', {}]
]

for (const [title, service, prefix, path, headers] of ways) {
  t.test(`all addresses in answers are below the prefix ${title}`, async t => {
    const ask = async (method: string, route: string, body?: unknown, more: Record<string, string> = {}) => {
      const answer = await service.request(method, `${path}${route}`, body, { ...bearer, ...headers, ...more })
      t.ok(answer.status < 400, `${method} ${route}: ${answer.status} ${JSON.stringify(answer.body)}`)
      t.strictSame(misplaced(answer.body, prefix), [], `${method} ${route}`)
      const location = answer.headers.get('location')
      t.ok(location === null || location.startsWith(`${prefix}/`), `${method} ${route}: ${location}`)
      return answer
    }
    const { body: accepted } = await ask('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: quick
    })
    const id = String(accepted.job_id)
    const done = await service.until(id, 'completed')
    t.match((await ask('GET', `/api/v2/jobs/${id}`)).body, {
      job: { links: { self: `${prefix}/api/v2/jobs/${id}` }, images: [{ url: RegExp(`^${prefix}/outputs/`) }] }
    })
    const name = String(done.images[0]?.filename)
    for (const route of [
      '/api/v2/jobs', '/api/v2/jobs?view=short', '/api/v1/gallery', `/api/v1/gallery/images/${name}/info`, '/sdapi/v1/jobs',
      `/jobs/${id}`, `/jobs/${id}/result?format=url`, '/loras', '/api/v1/models', '/api/v1/webhooks/deliveries'
    ]) await ask('GET', route)
    t.match((await ask('GET', '/sdapi/v1/jobs')).body, [{ output_paths: [`${prefix}/outputs/${name}`] }])
    const zip = (await ask('POST', '/api/v1/gallery/zips', { filenames: [name] })).body
    t.equal(zip.url, `${prefix}/api/v1/gallery/zips/${zip.id}`)
    await ask('POST', '/api/v2/generate/bulk', { generation_params: quick, target_server_alias: 'default', bulk_quantity: 2 })
    await ask('POST', '/api/v1/api-keys', { name: 'one' })
    await ask('POST', '/sdapi/v1/txt2img', quick, { prefer: 'respond-async' })
    const { body: batch } = await ask('POST', '/generate/batch', {
      user_id: 'mia', base_request: { prompt: 'a boat', steps: 1 }, axes: [{ field: 'seed', values: [1, 2] }]
    })
    t.equal((await ask('GET', `/generate/batch/${String(batch.batch_id)}`)).body.grid_url,
      `${prefix}/generate/batch/${String(batch.batch_id)}/grid`)

    const events = await fetch(`${service.url}${path}/api/v2/jobs/${id}/events`, { headers: { ...bearer, ...headers } })
    t.match(await events.text(), `"url":"${prefix}/outputs/${name}"`)
    await ask('GET', `/outputs/${name}`)
    await ask('GET', `/outputs/thumbs/${name}`)
  })

  t.test(`pages work below the prefix ${title}`, async t => {
    const get = async (route: string, more: Record<string, string> = {}) =>
      await fetch(`${service.url}${path}${route}`, { headers: { ...headers, ...more }, redirect: 'manual' })
    const html = await (await get('/')).text()
    const [, main = ''] = /src="([^"]*\/ui\/chunk-\w+\.js)"/.exec(html) ?? []
    t.ok(main.startsWith(`${prefix}/ui/`), main)
    t.notMatch(html, /(?:src|href)="\/(?!tools\/queue\/|queue\/)/)
    t.equal((await get(main.slice(prefix.length))).status, 200)
    const tag = (await get('/')).headers.get('etag') ?? ''
    t.equal((await get('/', { 'if-none-match': tag })).status, 304)
    t.match(await (await get('/docs')).text(), `src="${prefix}/docs/static/swagger-ui-bundle.js"`)
    t.match(await (await get('/docs/')).text(), 'src="./static/swagger-ui-bundle.js"')
    const address = service === given ? 'http://localhost:1/queue/' : `${prefix}/`
    for (const route of ['/openapi.json', '/docs/json', '/schemas', '/schemas/openapi-3.0.json']) {
      t.match(await (await get(route)).json(), { servers: [{ url: address }] }, route)
    }
    t.match(await (await get('/docs/yaml')).text(), `- url: ${address}\n`)
    t.match(await (await get('/dashboard', bearer)).text(), `<base href="${prefix}/dashboard/"`)
    t.equal((await get('/redoc')).headers.get('location'), `${prefix}/docs`)
    const page = { accept: 'text/html', 'x-forwarded-for': '192.0.2.1' }
    t.equal((await get('/dashboard', page)).headers.get('location'), `${prefix}/#/dashboard`)
    t.equal((await get('/nowhere')).status, 404)
  })

  t.test(`the session's cookie is only for paths below the prefix ${title}`, async t => {
    for (const method of ['POST', 'DELETE']) {
      const { status, headers: sent } = await service.request(method, `${path}/ui/session`,
        method === 'POST' ? { token } : undefined, { ...headers, 'x-requested-with': 'ui' })
      t.equal(status, 204)
      const isDirect = service === given && path === ''
      t.match(sent.get('set-cookie'), `; Path=${isDirect ? '/' : prefix};`,
        'a request for another host name than that of PUBLIC_URL can come from a page at the root')
    }
  })
}

t.test('the prefix of a proxy that is not trusted, or one that is no path, changes nothing', async t => {
  const links = async (service: Service, headers: Record<string, string>) => {
    const answer = await service.request('GET', '/api/v2/jobs', undefined, { ...bearer, ...headers })
    const page = await fetch(`${service.url}/`, { headers })
    const moved = await fetch(`${service.url}/redoc`, { headers, redirect: 'manual' })
    const text = `${JSON.stringify(answer.body)} ${await page.text()} "${moved.headers.get('location')}"`
    return [...new Set(text.match(/"[^" ]*\b(?:outputs|ui|docs)\b[^" ]*"/g))].toSorted().join()
  }
  const plain = await links(named, {})
  t.match(plain, /"\/outputs\/\w.*"ui\/chunk-\w+\.js"/)
  for (const header of [
    '//evil.example', '/\\evil.example', 'https://evil.example', '/..', '/a/../b', '/.', '/a//b', 'queue', '/queue?x=1', '/queue#x',
    '/"><script>alert(1)</script>', '/%2e%2e', '/a b', '/a,/b', '/a, /b', '/caf\u00e9', `/${'a'.repeat(300)}`, '/a/b/c/d/e/f/g/h/i'
  ]) {
    t.equal(await links(named, { 'x-forwarded-prefix': header }), plain, header)
    t.notMatch(await links(given, { 'x-forwarded-prefix': header }), 'evil', header)
  }
  const untrusting = await start('untrusting', { TRUSTED_PROXIES: '192.0.2.0/24' })
  t.notMatch(await links(untrusting, { 'x-forwarded-prefix': '/queue' }), '/queue/')
  const [file] = /ui\/chunk-\w+\.js/.exec(plain) ?? []
  t.equal((await fetch(`${untrusting.url}/${file}`)).status, 200)
  t.equal((await fetch(`${untrusting.url}/queue/${file}`, { headers: { 'x-forwarded-prefix': '/queue' } })).status, 404)
})

t.test('PUBLIC_URL with a path that is no prefix is refused', async t => {
  for (const path of ['//evil', '/a/../b', '/.', '/a b', '/%2e%2e', '/a//b', '/"x']) {
    t.throws(() => parseSettings({ PUBLIC_URL: `https://queue.example${path}` }), /PUBLIC_URL is .*, but must be/, path)
  }
  t.equal(parseSettings({ PUBLIC_URL: 'https://queue.example/a/b.c/~d_e-f/' }).PUBLIC_URL, 'https://queue.example/a/b.c/~d_e-f/')
})

t.test('a prefix that is also a path of the service is distinguished from it', async t => {
  const at = (prefix: string) => {
    const rules = createRequestPrefix({ PUBLIC_URL: `https://host.example${prefix}`, TRUSTED_PROXIES: [] })
    for (const path of ['/', '/api/v2/jobs', '/queue', '/jobs/:job_id', '/docs/static/*', '/outputs/:name']) rules.note(path)
    return (path: string, accept = '*/*') =>
      rules.withoutPrefix({ headers: { accept }, socket: {} } as IncomingMessage, path)
  }
  const queue = at('/queue')
  t.equal(queue('/queue/'), '/')
  t.equal(queue('/queue', 'text/html,*/*'), '/', 'a person opens the page')
  t.equal(queue('/queue', 'application/json'), '/queue', 'a bot asks how much there is to do')
  t.equal(queue('/queue?a=1', 'text/html'), '/?a=1')
  t.equal(queue('/queue/queue'), '/queue')
  t.equal(queue('/queue/api/v2/jobs?limit=1'), '/api/v2/jobs?limit=1')
  t.equal(queue('/queues/api'), '/queues/api')
  t.equal(queue('/api/v2/jobs'), '/api/v2/jobs')
  const api = at('/api')
  t.equal(api('/api/v2/jobs'), '/api/v2/jobs', 'the proxy strips the prefix')
  t.equal(api('/api/api/v2/jobs'), '/api/v2/jobs', 'the proxy keeps the prefix')
  t.equal(api('/api/outputs/a.png'), '/outputs/a.png')
  const jobs = at('/jobs')
  t.equal(jobs('/jobs/1cfd52d6'), '/jobs/1cfd52d6')
  t.equal(jobs('/jobs/jobs/1cfd52d6'), '/jobs/1cfd52d6')
  const free = at('/tools')
  t.equal(free('/tools'), '/')
  t.equal(free('/tools/nothing'), '/nothing')
})

t.end()
