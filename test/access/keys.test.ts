import t, { type Test } from 'tap'
import { once } from 'node:events'
import { createAccessKeys, type AccessKeys } from '../../src/access/keys.ts'
import { checkMasterKey } from '../../src/access/secrets.ts'
import { createSessions, readCookie, sessionCookie } from '../../src/access/sessions.ts'
import { newMasterKey, openRedis } from './door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())
const { redis, subscriber, keySpace } = connections

const hour = 3_600_000

/** A store of its own, with a clock that only the test changes. */
async function openStore (t: Test, overrides: Partial<Parameters<typeof createAccessKeys>[0]> = {}) {
  const clock = { moment: Date.parse('2026-11-21T09:00:00Z') }
  const dependencies = {
    redis,
    subscriber,
    keys: keySpace(),
    masterKey: newMasterKey(),
    defaultRatePerMinute: 60,
    now: () => clock.moment,
    ...overrides
  }
  const store = await createAccessKeys(dependencies)
  t.after(async () => await store.close())
  return { store, clock, dependencies }
}

const accepts = async (store: AccessKeys, key: string, secret: string) => await store.verify(key, secret) !== null

t.test('a new key has the scopes for its own jobs and keeps its secret out of Redis', async t => {
  const { store, dependencies } = await openStore(t)
  const { accessKey, secret } = await store.create({ name: 'Forge' })
  t.match(accessKey.key, /^mk_[0-9a-f]{24}$/)
  t.match(secret, /^[0-9a-f]{64}$/)
  t.match(accessKey, { name: 'Forge', description: '', active: true, ratePerMinute: 60, usageCount: 0, lastUsedAt: null })
  t.strictSame(accessKey.scopes, ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read'])

  const principal = await store.verify(accessKey.key, secret)
  t.match(principal, { kind: 'key', keyId: accessKey.id, name: 'Forge', ratePerMinute: 60 })
  t.equal(await store.verify(accessKey.key, `${secret}0`), null)
  t.equal(await store.verify(accessKey.key, ''), null)
  t.equal(await store.verify('mk_000000000000000000000000', secret), null)

  const record = await redis.hgetall(dependencies.keys.key('access-key', accessKey.id))
  t.notMatch(JSON.stringify(record), secret)
})

t.test('a key can have limits of its own, none, or those of its tier', async t => {
  const { store } = await openStore(t)
  const { accessKey: { id } } = await store.create({ name: 'a', ratePerMinute: 5 })
  t.equal((await store.get(id)).ratePerMinute, 5)
  t.equal((await store.update(id, { ratePerMinute: null })).ratePerMinute, null)
  t.equal((await store.update(id, { tier: 'extended' })).ratePerMinute, 180)
  t.equal((await store.update(id, { tier: 'unlimited' })).ratePerMinute, null)
  t.equal((await store.update(id, { tier: 'default' })).ratePerMinute, 60)
  const { store: free } = await openStore(t, { defaultRatePerMinute: 0 })
  t.equal((await free.create({ name: 'a' })).accessKey.ratePerMinute, null, 'a default of 0 is no limit')
})

t.test('keys are listed newest first, changed in part and permanently deleted', async t => {
  const { store, clock } = await openStore(t)
  const older = await store.create({ name: 'older' })
  clock.moment += 1
  const newer = await store.create({ name: 'newer', description: 'second', scopes: ['*'] })
  t.strictSame((await store.list()).map(({ name }) => name), ['newer', 'older'])

  const changed = await store.update(newer.accessKey.id, { name: 'renamed' })
  t.match(changed, { name: 'renamed', description: 'second', scopes: ['*'] })
  await store.remove(older.accessKey.id)
  t.strictSame((await store.list()).map(({ name }) => name), ['renamed'])
  t.notOk(await accepts(store, older.accessKey.key, older.secret))
  for (const refused of [store.get, store.remove]) {
    await t.rejects(refused(older.accessKey.id), { code: 'api_key_not_found' })
  }
  await t.rejects(store.update(older.accessKey.id, { name: 'back' }), { code: 'api_key_not_found' })
  await t.rejects(store.rotate(older.accessKey.id, 1), { code: 'api_key_not_found' })
})

t.test('after a rotation the former secret works for the grace period and no longer', async t => {
  const { store, clock } = await openStore(t)
  const { accessKey: { id, key }, secret: first } = await store.create({ name: 'a' })
  const { secret: second, accessKey } = await store.rotate(id, 24)
  t.equal(accessKey.previousSecretUntil, clock.moment + 24 * hour)
  t.ok(await accepts(store, key, first), 'the former secret works')
  t.ok(await accepts(store, key, second), 'the new secret works')
  clock.moment += 24 * hour - 1
  t.ok(await accepts(store, key, first), 'the former secret works until the last moment')
  clock.moment += 1
  t.notOk(await accepts(store, key, first), 'the former secret is over')
  t.ok(await accepts(store, key, second))

  const { secret: third } = await store.rotate(id, 0)
  t.notOk(await accepts(store, key, second), 'without grace the former secret is over at once')
  t.ok(await accepts(store, key, third))
  const { secret: fourth } = await store.rotate(id, 1)
  const { secret: fifth } = await store.rotate(id, 1)
  t.notOk(await accepts(store, key, third), 'only the last former secret has grace')
  t.ok(await accepts(store, key, fourth))
  t.ok(await accepts(store, key, fifth))
})

t.test('a key that one process revokes is rejected by another at once', async t => {
  const { store: here, dependencies } = await openStore(t)
  const listener = await connections.connect('subscriber')
  t.after(() => listener.disconnect())
  const there = await createAccessKeys({ ...dependencies, subscriber: listener })
  t.after(async () => await there.close())

  const { accessKey: { id, key }, secret } = await here.create({ name: 'a' })
  t.ok(await accepts(there, key, secret), 'the other process remembers the key now')
  const afterHearing = async (change: () => Promise<unknown>) => {
    const heard = once(listener, 'message')
    await change()
    await heard
    return await Promise.all([accepts(here, key, secret), accepts(there, key, secret)])
  }
  t.strictSame(await afterHearing(async () => await here.update(id, { active: false })), [false, false], 'switched off')
  t.strictSame(await afterHearing(async () => await there.update(id, { active: true })), [true, true], 'switched on')
  t.strictSame(await afterHearing(async () => await here.rotate(id, 0)), [false, false], 'another secret')
  const heard = once(listener, 'message')
  const { secret: second } = await here.rotate(id, 0)
  await heard
  t.ok(await accepts(there, key, second))
  t.strictSame(await afterHearing(async () => await here.remove(id)), [false, false], 'removed')

  const fresh = await here.create({ name: 'b' })
  t.notOk(await accepts(there, fresh.accessKey.key, 'wrong'))
  t.ok(await accepts(there, fresh.accessKey.key, fresh.secret), 'a key that was asked for too early is not remembered as unknown')
})

t.test('a cached key needs no Redis for half a minute', async t => {
  const { store, clock, dependencies } = await openStore(t)
  const { accessKey: { id, key }, secret } = await store.create({ name: 'a' })
  t.ok(await accepts(store, key, secret))
  // Bypasses the store, so that no process gets a message.
  await redis.hset(dependencies.keys.key('access-key', id), 'active', '0')
  t.ok(await accepts(store, key, secret))
  clock.moment += 30_000
  t.notOk(await accepts(store, key, secret))
})

t.test('uses are counted exactly and written together', async t => {
  const { store, clock, dependencies } = await openStore(t)
  const { accessKey: { id, key }, secret } = await store.create({ name: 'a' })
  const record = dependencies.keys.key('access-key', id)
  for (let use = 0; use < 3; use++) await store.verify(key, secret)
  await store.verify(key, 'wrong')
  t.match(await store.get(id), { usageCount: 3, lastUsedAt: clock.moment }, 'uses show before they are written')
  t.equal((await store.list())[0]?.usageCount, 3)
  t.equal(await redis.hget(record, 'uses'), null)
  await store.flush()
  t.equal(await redis.hget(record, 'uses'), '3')
  t.match(await store.get(id), { usageCount: 3, lastUsedAt: clock.moment })

  await store.verify(key, secret)
  await store.remove(id)
  await store.flush()
  t.equal(await redis.exists(record), 0, 'a late count does not bring a removed key back')
})

t.test('only one of many first keys is created', async t => {
  const { store } = await openStore(t)
  t.ok(await store.isEmpty())
  const made = await Promise.all(Array.from({ length: 5 }, async () => await store.createFirst({ name: 'first' })))
  t.equal(made.filter(issued => issued !== null).length, 1)
  t.notOk(await store.isEmpty())
  t.notOk(await store.importFirst('mk_0123456789abcdef01234567:0123456789abcdef'), 'nothing is imported later')
})

t.test('a configured key is imported into an empty store, with all rights', async t => {
  const { store } = await openStore(t)
  for (const wrong of ['', 'mk_0123456789', 'admin:0123456789abcdef', 'mk_0123456789:short', 'mk_0123456789:has a space in it']) {
    await t.rejects(store.importFirst(wrong), /BOOTSTRAP_API_KEY is \(hidden\)/)
  }
  t.ok(await store.importFirst('mk_0123456789abcdef01234567:0123456789abcdef:and-more'))
  const principal = await store.verify('mk_0123456789abcdef01234567', '0123456789abcdef:and-more')
  t.ok(principal?.scopes.has('*'))
})

t.test('keys survive a rotation of the master key, and then no longer need the former one', async t => {
  const { store, dependencies } = await openStore(t)
  const { accessKey: { key }, secret } = await store.create({ name: 'a' })
  const next = newMasterKey().current
  const masterKey = { current: next, previous: dependencies.masterKey.current }
  const { store: rotated } = await openStore(t, { ...dependencies, masterKey })
  t.ok(await accepts(rotated, key, secret))
  const { store: later } = await openStore(t, { ...dependencies, masterKey: { current: next, previous: null } })
  t.ok(await accepts(later, key, secret))
  t.notOk(await accepts(later, key, 'wrong'))
})

t.test('the error for a wrong master key is a sentence', async t => {
  const keys = keySpace()
  const first = newMasterKey()
  await checkMasterKey(redis, keys, first)
  await checkMasterKey(redis, keys, first)
  await t.rejects(checkMasterKey(redis, keys, newMasterKey()), /not the one .* Restore DATA_DIR\/master.key or MASTER_KEY/)
  const next = { current: newMasterKey().current, previous: first.current }
  await checkMasterKey(redis, keys, next)
  await checkMasterKey(redis, keys, { current: next.current, previous: null })
  await t.rejects(checkMasterKey(redis, keys, first), 'the former key alone no longer fits')
})

t.test('a session lasts 12 hours without use, 7 days at most, and no longer than its token', async t => {
  const clock = { moment: Date.now() }
  const keys = keySpace()
  const now = () => clock.moment
  const sessions = createSessions({ redis, keys, tokens: ['token', ''], now })
  t.equal(await sessions.open('wrong'), null)
  t.equal(await sessions.open(''), null)
  const session = await sessions.open('token')
  if (session === null) throw new Error('no session')
  t.ok(await sessions.isOpen(session))
  t.notOk(await sessions.isOpen(`${session}x`))

  const [name = ''] = await redis.keys(`${keys.key('session')}:*`)
  t.notMatch(name, session, 'Redis does not know the cookie')
  t.ok(await redis.pttl(name) > 11.9 * hour && await redis.pttl(name) <= 12 * hour)
  t.notOk(await createSessions({ redis, keys, tokens: ['changed', ''], now }).isOpen(session))

  clock.moment += 7 * 24 * hour - 1000
  t.ok(await sessions.isOpen(session))
  t.ok(await redis.pttl(name) <= 1000, 'use does not stretch it beyond 7 days')
  clock.moment += 1000
  t.notOk(await sessions.isOpen(session))

  const second = await sessions.open('token') ?? ''
  await sessions.end(second)
  t.notOk(await sessions.isOpen(second))
})

t.test('cookies are read and written as browsers do', async t => {
  t.equal(readCookie('a=1; sq_session_3000=x=y; b=2', 'sq_session_3000'), 'x=y')
  t.equal(readCookie('xsq_session_3000=1', 'sq_session_3000'), null)
  t.equal(readCookie(undefined, 'a'), null)
  t.equal(sessionCookie('n', 'v', { protocol: 'https', cookiePath: '/' }), 'n=v; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800; Secure')
  t.equal(sessionCookie('n', '', { protocol: 'http', cookiePath: '/queue' }), 'n=; Path=/queue; HttpOnly; SameSite=Strict; Max-Age=0')
})

t.end()
