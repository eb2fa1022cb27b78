import t from 'tap'
import { quick, startService, type JsonBody, type Service } from '../helper.ts'

const caller = ({ request }: Service) => ({
  add: async (body: object) => await request('POST', '/api/v1/servers', body),
  change: async (alias: string, body: object) => await request('PUT', `/api/v1/servers/${alias}`, body),
  look: async (alias: string) => (await request('GET', `/api/v1/servers/${alias}`)).body
})

/** Runs no jobs, for the tests of its list in their order. */
const idle = await startService(t, { worker: 'none' })

t.test('errors about a server name the field', async t => {
  const { add } = caller(idle)
  const apiUrl = 'http://127.0.0.1:1'
  const cases: Array<[body: object, error: string, field: string]> = [
    [{ apiUrl }, 'missing_required_field', 'alias'],
    [{ alias: 'x' }, 'missing_required_field', 'apiUrl'],
    [{ alias: ' ', apiUrl }, 'invalid_field_value', 'alias'],
    [{ alias: '..', apiUrl }, 'invalid_field_value', 'alias'],
    [{ alias: 'a/b', apiUrl }, 'invalid_field_value', 'alias'],
    [{ alias: 'x', apiUrl: 'ftp://127.0.0.1' }, 'invalid_field_value', 'apiUrl'],
    [{ alias: 'x', apiUrl: '127.0.0.1:7860' }, 'invalid_field_value', 'apiUrl'],
    [{ alias: 'x', apiUrl: 'http://127.0.0.1/?a=1' }, 'invalid_field_value', 'apiUrl'],
    [{ alias: 'x', apiUrl: 'http://us%zzer:p@127.0.0.1' }, 'invalid_field_value', 'apiUrl'],
    [{ alias: 'x', url: '127.0.0.1:7860' }, 'invalid_field_value', 'url'],
    [{ alias: 'x', url: 'http://127.0.0.1:2', apiUrl }, 'invalid_field_value', 'url'],
    [{ alias: 'x', host: 'a b' }, 'invalid_field_value', 'host'],
    [{ alias: 'x', host: 'a', port: 70000 }, 'invalid_field_value', 'port'],
    [{ alias: 'x', apiUrl, auth: 'no-colon' }, 'invalid_field_value', 'auth'],
    [{ alias: 'x', apiUrl, password: 'alone' }, 'invalid_field_value', 'username'],
    [{ alias: 'x', apiUrl, username: 'a:b', password: 'c' }, 'invalid_field_value', 'username'],
    [{ alias: 'x', apiUrl, job_timeout_seconds: 0 }, 'invalid_field_value', 'job_timeout_seconds'],
    [{ alias: 'x', apiUrl, enabled: 'yes' }, 'invalid_field_value', 'enabled'],
    [{ alias: 'x', apiUrl, restore_selection: 'sometimes' }, 'invalid_field_value', 'restore_selection'],
    [{ alias: 'x', apiUrl, restore_selection: null }, 'invalid_field_value', 'restore_selection']
  ]
  for (const [body, error, field] of cases) {
    t.match(await add(body), { status: 400, body: { success: false, error, details: { field } } }, JSON.stringify(body))
  }
  t.equal(((await idle.request('GET', '/api/v1/servers')).body as unknown as unknown[]).length, 1)
})

t.test('a server is added, shown, changed and removed', async t => {
  const service = idle
  const { add, change, look } = caller(service)
  const added = await add({ alias: ' Studio ', host: '::1', port: '7861', description: 'Big', job_timeout_seconds: 60, restore_selection: 'never' })
  t.equal(added.status, 201)
  t.equal(added.headers.get('location'), '/api/v1/servers/Studio')
  t.match(added.body, { success: true, message: String, server: { alias: 'Studio', apiUrl: 'http://[::1]:7861', port: 7861 } })
  t.match(await look('studio'), {
    alias: 'Studio',
    description: 'Big',
    enabled: true,
    paused: false,
    job_timeout_seconds: 60,
    restore_selection: 'never',
    has_credentials: false,
    kind: null,
    version: null,
    health: 'offline',
    last_error: null,
    loaded_checkpoint: null,
    waiting: 0
  })
  t.match(await add({ alias: 'STUDIO', apiUrl: 'http://127.0.0.1:1' }), {
    status: 400, body: { error: 'server_exists', details: { field: 'alias' } }
  })
  t.match(await change('Studio', { alias: 'main' }), { status: 400, body: { error: 'server_exists' } })

  t.match((await change('Studio', { enabled: false, alias: 'Atelier ' })).body, { server: { alias: 'Atelier', enabled: false } })
  t.match((await change('Atelier', { description: null })).body, {
    server: { enabled: false, description: null, job_timeout_seconds: 60, apiUrl: 'http://[::1]:7861' }
  }, 'what is left out stays')
  t.match((await change('Atelier', { port: 9 })).body, { server: { apiUrl: 'http://[::1]:9' } })
  t.match((await change('Atelier', { host: '127.0.0.1' })).body, { server: { apiUrl: 'http://127.0.0.1:9' } })
  t.match((await change('Atelier', { apiUrl: 'https://example.org/sd/' })).body, { server: { apiUrl: 'https://example.org/sd' } })
  t.match((await change('Atelier', { port: 8443 })).body, { server: { apiUrl: 'https://example.org:8443/sd' } })
  t.match((await change('Atelier', { url: 'http://127.0.0.1:8' })).body, { server: { apiUrl: 'http://127.0.0.1:8' } })
  const both = { url: 'http://127.0.0.1:7/', apiUrl: 'http://127.0.0.1:7' }
  t.match(await add({ alias: 'Short', url: both.url }), { status: 201, body: { server: { apiUrl: both.apiUrl } } })
  t.match(await change('Short', both), { status: 200 })
  t.match(await change('Short', { ...both, url: 'http://127.0.0.1:6' }), { status: 400, body: { details: { field: 'url' } } })
  t.equal((await service.request('GET', '/api/v1/servers/Studio')).status, 404)
  t.match(await service.request('DELETE', '/api/v1/servers/Atelier'), { status: 200, body: { success: true } })
  t.match(await service.request('GET', '/api/v1/servers/Atelie'), {
    status: 404, body: { error: 'server_not_found', details: { field: 'alias' } }
  })
})

t.test('credentials under any of their names reach the server, are sealed in Redis and never shown', async t => {
  const secret = 'pa%ss/w@rd'
  const service = await startService(t, { simulator: { auth: `ann:${secret}` }, servers: {} })
  const { add, change } = caller(service)
  const apiUrl = service.simulator.url
  const { port } = new URL(apiUrl)
  const spellings: object[] = [
    { apiUrl, username: 'ann', password: secret },
    { apiUrl, authUser: 'ann', authPass: secret },
    { apiUrl, auth: `ann:${secret}` },
    { apiUrl, auth: { user: 'ann', pass: secret } },
    { apiUrl: `http://ann:${encodeURIComponent(secret)}@127.0.0.1:${port}` },
    { host: '127.0.0.1', port: Number(port), auth: { username: 'ann', password: secret } }
  ]
  const answers: unknown[] = []
  const test = async (alias: string) => {
    const { status, body } = await service.request('POST', `/api/v1/servers/${alias}/test`)
    t.equal(status, 200)
    answers.push(body)
    return body
  }
  for (const [index, spelling] of spellings.entries()) {
    const { status, body } = await add({ alias: `s${index}`, ...spelling })
    t.equal(status, 201)
    answers.push(body)
    t.match(await test(`s${index}`), { reachable: true, server: { has_credentials: true, kind: 'simulator', health: 'online' } })
  }
  t.match((await change('s0', { description: 'kept' })).body, { server: { has_credentials: true } })
  t.match(await test('s0'), { reachable: true }, 'a change of something else keeps them')
  await change('s0', { password: 'wrong' })
  t.match(await test('s0'), { reachable: false, server: { health: 'unauthorized', last_error: String } })
  await change('s0', { password: secret })
  t.match(await test('s0'), { reachable: true }, 'the user stays when only the password changes')
  t.match((await change('s0', { username: null })).body, { server: { has_credentials: false } })
  t.match(await test('s0'), { reachable: false })

  answers.push((await service.request('GET', '/api/v1/servers')).body, (await service.request('GET', '/api/v1/servers/s1')).body)
  t.notMatch(JSON.stringify(answers), /w@rd|w%40rd|"(password|authPass|auth|username)"/)
  const { redis, keys } = service.services
  const records = JSON.stringify(await redis.hgetall(keys.key('servers')))
  t.ok(records.includes('ann'))
  t.notMatch(records, /w@rd|w%40rd/)

  const job = await service.request('POST', '/api/v2/generate', { target_server_alias: 's1', generation_params: quick })
  t.equal((await service.until(String(job.body.id), 'completed', 'failed')).status, 'completed')
})

t.test('the list never waits for a server, and shows its last known state', async t => {
  const service = await startService(t, { servers: {} })
  const { add } = caller(service)
  await add({ alias: 'Up', apiUrl: service.simulator.url })
  await add({ alias: 'Down', apiUrl: 'http://127.0.0.1:9' })
  await service.request('POST', '/api/v1/servers/Up/test')
  t.match(await service.request('POST', '/api/v1/servers/Down/test'), {
    status: 200, body: { success: true, reachable: false, message: String, duration_ms: Number, server: { health: 'offline', last_error: String } }
  })
  await service.worker?.close()
  const { requests } = service.simulator.state()
  const { body } = await service.request('GET', '/api/v1/servers')
  t.match(body, [
    { alias: 'Up', version: String, checked_at: String, loaded_checkpoint: /dreamscape/ }, { alias: 'Down', health: 'offline' }
  ])
  t.same(service.simulator.state().requests, requests, 'no server was asked')
})

t.test('the queue of a paused server waits until it is resumed', async t => {
  const service = await startService(t)
  t.match((await service.request('POST', '/api/v1/servers/Main/pause')).body, { success: true, server: { paused: true } })
  const id = await service.submit(quick, { target_server_alias: 'Main' })
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, { waiting: 1, paused: true })
  t.equal((await service.job(id)).status, 'pending')
  t.match((await service.request('POST', '/api/v1/servers/Main/pause', { reason: ' Driver update ' })).body,
    { server: { paused: true, pause_reason: 'Driver update', paused_at: /^\d{4}-/ } })
  t.match((await service.request('POST', '/api/v1/servers/Main/resume')).body, { server: { paused: false, pause_reason: null, paused_at: null } })
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
})

t.test('a server with jobs can be removed only with a decision about them', async t => {
  const service = idle
  await service.request('DELETE', '/api/v1/servers/Short')
  const { add } = caller(service)
  await add({ alias: 'Other', apiUrl: 'http://127.0.0.1:9' })
  const ids: string[] = []
  for (let count = 0; count < 3; count++) ids.push(await service.submit(quick, { target_server_alias: 'Main', priority: count + 4 }))
  const remove = async (alias: string, query = '') => await service.request('DELETE', `/api/v1/servers/${alias}${query}`)

  t.match(await remove('Main'), {
    status: 409, body: { error: 'server_has_jobs', message: /3 waiting jobs/, details: { waiting: 3, running: 0 } }
  })
  t.match(await remove('Main', '?jobs=move'), { status: 400, body: { error: 'missing_required_field', details: { field: 'to' } } })
  t.match(await remove('Main', '?jobs=move&to=Othr'), { status: 404, body: { details: { field: 'to', nearest: ['Other'] } } })
  t.match(await remove('Main', '?jobs=move&to=main'), { status: 400, body: { details: { field: 'to' } } })
  t.match(await remove('Main', '?jobs=cancel&to=other'), { status: 400, body: { details: { field: 'to' } } }, 'nothing is cancelled that was to move')
  t.match(await remove('Main', '?jobs=cancel&expected=2'),
    { status: 409, body: { error: 'more_than_expected', details: { expected: 2, count: 3 } } })
  t.match(await remove('Main', '?jobs=burn'), { status: 400, body: { details: { field: 'jobs' } } })
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, { waiting: 3, enabled: true }, 'a refusal changes nothing')

  t.match(await remove('Main', '?jobs=move&to=other&expected=3'), { status: 200, body: { message: /3 jobs moved to Other/ } })
  const moved = await Promise.all(ids.map(async id => await service.job(id)))
  t.match(moved.map(({ status, target_server_alias: alias, queue_position: place }) => [status, alias, place]),
    [['pending', 'Other', 3], ['pending', 'Other', 2], ['pending', 'Other', 1]])

  for (const alias of ['Third', 'Fourth']) await add({ alias, apiUrl: 'http://127.0.0.1:9' })
  t.match(await remove('Other', '?jobs=move&to=auto'), { status: 200, body: { message: /3 jobs moved to any server/ } })
  t.match(await service.job(ids[0] ?? ''), { status: 'pending', target_server_alias: 'default' })
  t.equal((await remove('Fourth')).status, 200)
  for (const id of ids) await service.request('PATCH', `/api/v2/jobs/${id}`, { server: 'Third' })
  t.match(await remove('Third', '?jobs=move&to=auto'),
    { status: 422, body: { error: 'no_server_available', details: { field: 'to' } } })

  t.match(await remove('Third', '?jobs=cancel'), { status: 200, body: { message: /3 waiting jobs and 0 running jobs cancelled/ } })
  const cancelled = await Promise.all(ids.map(async id => await service.job(id)))
  t.same(cancelled.map(({ status }) => status), ['cancelled', 'cancelled', 'cancelled'])
  t.match(cancelled[0] as JsonBody, { target_server_alias: '(removed)' })
  const nowhere = await service.request('POST', '/api/v2/generate', { target_server_alias: '', generation_params: quick })
  t.match(nowhere, { status: 422, body: { error: 'no_server_available', details: { field: 'target_server_alias' } } })
})

t.test('the health of a server is recorded: each change, and nothing else within a minute', async t => {
  const service = await startService(t)
  const history = async () => (await service.request('GET', '/api/v1/servers/Main/history')).body
  t.match(await history(), { success: true, server: 'Main', samples: [{ health: 'online', response_ms: Number, at: String }] })
  t.match((await history()).online_share, 1)
  await service.simulator.close()
  const id = await service.submit(quick)
  while (((await history()).samples as unknown[]).length < 2) await new Promise(resolve => { setTimeout(resolve, 20) })
  const { samples, online_share: share } = await history()
  t.match(samples, [{ health: 'online' }, { health: 'offline', response_ms: null }])
  t.equal((samples as unknown[]).length, 2, 'looks that find the same add nothing')
  t.ok(Number(share) >= 0 && Number(share) < 1, String(share))
  await service.request('DELETE', `/api/v2/jobs/${id}`)
  const serverId = service.services.registry.require('Main').id
  await service.request('DELETE', '/api/v1/servers/Main')
  t.equal((await service.request('GET', '/api/v1/servers/Main/history')).status, 404)
  t.same(await service.services.states.history.read(serverId), [])
})
