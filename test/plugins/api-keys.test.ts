import t from 'tap'
import type { Scope } from '../../schemas/api-key.ts'
import { adminToken, keyHeaders, openDoor, openRedis, type Door } from '../access/door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())

const path = '/api/v1/api-keys'
const otherPeer = '192.168.1.5'

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** Sends requests from another machine, by default with the admin token. */
function clientOf ({ app }: Door) {
  return async (method: Method, url: string, payload?: object, headers: Record<string, string> = { authorization: `Bearer ${adminToken}` }) => {
    const answer = await app.inject({ method, url, headers, remoteAddress: otherPeer, ...(payload && { payload }) })
    return { status: answer.statusCode, headers: answer.headers, body: answer.json() }
  }
}

t.test('a key is created, shown without its secret, changed and deleted', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)

  const made = await call('POST', path, { name: '  Forge  ', description: 'Big machine' })
  t.equal(made.status, 201)
  const { api_key: { id, key, secret } } = made.body
  t.match(made.body, {
    success: true,
    message: String,
    key,
    secret,
    api_key: {
      id: /^[0-9a-f-]{36}$/,
      name: 'Forge',
      description: 'Big machine',
      key: /^mk_[0-9a-f]{24}$/,
      secret: /^[0-9a-f]{64}$/,
      created_at: /^\d{4}-\d\d-\d\dT.*Z$/,
      last_used: null,
      last_used_at: null,
      usage_count: 0,
      is_active: true,
      scopes: ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read'],
      rate_limit_per_minute: 60,
      rate_limit_tier: 'default',
      custom_rate_limits: null,
      permissions: '{}',
      previous_secret_valid_until: null,
      _links: { self: `${path}/${id}`, update: `${path}/${id}`, delete: `${path}/${id}` }
    }
  })
  t.equal(made.headers.location, `${path}/${id}`)

  t.equal((await call('GET', '/who', undefined, keyHeaders({ key, secret }))).status, 200)
  const { secret: issuedSecret, webhook_secret: signs, ...shown } = made.body.api_key
  const used = { ...shown, usage_count: 1, last_used: String, last_used_at: String }
  t.match((await call('GET', `${path}/${id}`)).body, { success: true, api_key: used })
  t.match((await call('GET', path)).body, { success: true, count: 1, api_keys: [used] })

  const changed = await call('PUT', `${path}/${id}`, {
    name: 'Renamed', is_active: false, scopes: ['*'], rate_limit_per_minute: null, permissions: { a: 1 }, custom_rate_limits: '{"b":2}'
  })
  t.match(changed, {
    status: 200,
    body: {
      success: true,
      message: String,
      api_key: {
        name: 'Renamed', description: 'Big machine', is_active: false, scopes: ['*'], rate_limit_per_minute: null, permissions: '{"a":1}', custom_rate_limits: '{"b":2}'
      }
    }
  })
  t.equal((await call('GET', '/who', undefined, keyHeaders({ key, secret }))).status, 401)
  for (const isActive of [1, true]) {
    t.equal((await call('PUT', `${path}/${id}`, { is_active: isActive })).body.api_key.is_active, true)
    t.equal((await call('GET', '/who', undefined, keyHeaders({ key, secret }))).status, 200)
    t.equal((await call('PUT', `${path}/${id}`, { is_active: 0 })).body.api_key.is_active, false)
  }

  t.match(await call('DELETE', `${path}/${id}`), { status: 200, body: { success: true, message: String } })
  for (const [method, url] of [['GET', id], ['PUT', id], ['DELETE', id], ['POST', `${id}/rotate`], ['GET', 'nothing']] as const) {
    const answer = await call(method, `${path}/${url}`, method === 'PUT' ? { name: 'x' } : undefined)
    t.match(answer, { status: 404, body: { success: false, error: 'api_key_not_found' } }, `${method} ${url}`)
  }
  const after = await Promise.all([call('GET', path), call('GET', '/who', undefined, keyHeaders({ key, secret }))])
  t.match(signs, /^whsec_/)
  t.notMatch(JSON.stringify(after), signs)
  t.notMatch(JSON.stringify(after), issuedSecret, 'no other answer contains the secret')
})

t.test('errors of a key name the field', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)
  const wrong: Array<[object, string, string]> = [
    [{}, 'missing_required_field', 'name'],
    [{ name: '' }, 'invalid_field_value', 'name'],
    [{ name: '   ' }, 'invalid_field_value', 'name'],
    [{ name: null }, 'invalid_field_value', 'name'],
    [{ name: 'a', scopes: ['everything'] }, 'invalid_field_value', 'scopes.0'],
    [{ name: 'a', rate_limit_per_minute: 0 }, 'invalid_field_value', 'rate_limit_per_minute'],
    [{ name: 'a', rate_limit_per_minute: '5' }, 'invalid_field_value', 'rate_limit_per_minute']
  ]
  for (const [body, error, field] of wrong) {
    t.match(await call('POST', path, body), { status: 400, body: { error, details: { field } } }, JSON.stringify(body))
  }
  t.ok(await door.accessKeys.isEmpty())
})

t.test('a secret is replaced at once or with a grace period', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)
  const { body: { api_key: { id, key }, secret: first } } = await call('POST', path, { name: 'a' })
  const works = async (secret: string) => (await call('GET', '/who', undefined, keyHeaders({ key, secret }))).status === 200

  const graceful = await call('POST', `${path}/${id}/rotate`)
  t.match(graceful, { status: 200, body: { success: true, key, secret: /^[0-9a-f]{64}$/, api_key: { id, key } } })
  t.equal(graceful.body.secret, graceful.body.api_key.secret)
  const hours = (Date.parse(graceful.body.api_key.previous_secret_valid_until) - Date.now()) / 3_600_000
  t.ok(hours > 23.9 && hours <= 24, 'a day is the default')
  t.ok(await works(first))
  t.ok(await works(graceful.body.secret))

  const abrupt = await call('POST', `${path}/${id}/rotate`, { grace_hours: 0 })
  t.notOk(await works(graceful.body.secret))
  t.ok(await works(abrupt.body.secret))
  t.equal((await call('POST', `${path}/${id}/rotate`, { grace_hours: 169 })).status, 400)
})

t.test('the first key is created once, and only by clients with the right', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)
  t.match(await call('GET', `${path}/setup`, undefined, {}), { status: 200, body: { success: true, setup_required: true } })
  t.equal((await call('POST', `${path}/setup`, undefined, {})).status, 401, 'an installation without keys is not open')
  const made = await Promise.all([call('POST', `${path}/setup`), call('POST', `${path}/setup`, { name: 'Mine' })])
  t.strictSame(made.map(({ status }) => status).sort(), [201, 409])
  const issued = made.find(({ status }) => status === 201)?.body
  t.equal((await call('GET', '/who', undefined, keyHeaders(issued))).status, 200)
  t.match(made.find(({ status }) => status === 409)?.body, { error: 'setup_already_done' })
  t.match((await call('GET', `${path}/setup`, undefined, {})).body, { setup_required: false })
})

t.test('no client gains rights by managing keys', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)
  const issue = async (...scopes: Scope[]) => (await call('POST', path, { name: scopes.join(), scopes })).body
  const ordinary = await issue('jobs:read')
  const manager = await issue('keys:admin', 'jobs:read')
  const owner = await issue('*')

  for (const [method, url] of [
    ['GET', path], ['POST', path], ['POST', `${path}/setup`], ['GET', `${path}/${owner.api_key.id}`],
    ['PUT', `${path}/${ordinary.api_key.id}`], ['DELETE', `${path}/${owner.api_key.id}`], ['POST', `${path}/${owner.api_key.id}/rotate`]
  ] as const) {
    const answer = await call(method, url, method === 'GET' ? undefined : { name: 'x' }, keyHeaders(ordinary))
    t.match(answer, { status: 403, body: { error: 'permission_denied' } }, `${method} ${url} without keys:admin`)
  }

  const asManager = keyHeaders(manager)
  t.equal((await call('POST', path, { name: 'x', scopes: ['jobs:read'] }, asManager)).status, 201)
  t.equal((await call('POST', path, { name: 'x' }, asManager)).status, 403, 'the default scopes are more than its own')
  t.equal((await call('POST', path, { name: 'x', scopes: ['*'] }, asManager)).status, 403)
  t.equal((await call('PUT', `${path}/${ordinary.api_key.id}`, { scopes: ['servers:admin'] }, asManager)).status, 403)
  t.equal((await call('PUT', `${path}/${manager.api_key.id}`, { scopes: ['*'] }, asManager)).status, 403)
  t.equal((await call('PUT', `${path}/${ordinary.api_key.id}`, { name: 'y' }, asManager)).status, 200)
  t.equal((await call('POST', `${path}/${ordinary.api_key.id}/rotate`, undefined, asManager)).status, 200)
  for (const [method, url] of [['PUT', ''], ['DELETE', ''], ['POST', '/rotate']] as const) {
    const answer = await call(method, `${path}/${owner.api_key.id}${url}`, method === 'PUT' ? { name: 'y' } : undefined, asManager)
    t.equal(answer.status, 403, `${method} of a key with more rights`)
  }
  t.equal((await call('GET', '/who', undefined, keyHeaders(owner))).status, 200)
})

t.test('a key raises neither its own limits nor, through other keys, anybody’s', async t => {
  const door = await openDoor(connections)
  t.after(async () => await door.app.close())
  const call = clientOf(door)
  const { accessKeys } = door
  const issued = await accessKeys.create({
    name: 'manager', scopes: ['keys:admin', 'jobs:read', 'jobs:write', 'images:read', 'models:read', 'servers:read'], ratePerMinute: 30
  })
  const headers = keyHeaders({ key: issued.accessKey.key, secret: issued.secret })
  const mine = `${path}/${issued.accessKey.id}`
  const higher = [
    { rate_limit_per_minute: null }, { rate_limit_per_minute: 31 }, { rate_limit_tier: 'unlimited' },
    { rate_limit_tier: 'extended' }, { rate_limit_tier: 'default' }
  ]
  for (const change of higher) {
    t.match(await call('PUT', mine, change, headers), {
      status: 403, body: { error: 'permission_denied', details: { field: 'rate_limit_per_minute' } }
    }, JSON.stringify(change))
  }
  for (const change of higher.slice(0, 4)) {
    t.match(await call('POST', path, { name: 'helper', ...change }, headers), { status: 403 }, `a new key, ${JSON.stringify(change)}`)
  }
  const helper = await call('POST', path, { name: 'helper' }, headers)
  t.match(helper, { status: 201, body: { api_key: { rate_limit_per_minute: 30 } } }, 'a new key has what its maker has')
  const other = `${path}/${String(helper.body.api_key.id)}`
  t.match(await call('PUT', other, { rate_limit_per_minute: 40 }, headers), { status: 403 })
  t.match(await call('PUT', other, { rate_limit_per_minute: 10, name: 'slow' }, headers), { status: 200 })
  t.match(await call('PUT', mine, { rate_limit_per_minute: 20, description: 'less' }, headers), { status: 200 })

  const free = await call('POST', path, { name: 'free', rate_limit_per_minute: null })
  const freeAt = `${path}/${String(free.body.api_key.id)}`
  t.match(await call('POST', `${freeAt}/rotate`, {}, headers), { status: 403 }, 'the secret of a key with more would lift it, too')
  t.match(await call('PUT', freeAt, { description: 'seen to' }, headers), { status: 200 })
  t.match(await call('PUT', mine, { rate_limit_per_minute: null }), { status: 200 }, 'the admin token may')

  const all = await accessKeys.create({ name: 'all', scopes: ['*'], ratePerMinute: 30 })
  const allHeaders = keyHeaders({ key: all.accessKey.key, secret: all.secret })
  t.match(await call('PUT', `${path}/${all.accessKey.id}`, { rate_limit_per_minute: null }, allHeaders), { status: 403 })
  t.match(await call('POST', path, { name: 'bot', rate_limit_per_minute: null }, allHeaders), { status: 201 })
})

t.end()
