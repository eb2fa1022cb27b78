import t from 'tap'
import { once } from 'node:events'
import { adminToken, authToken, keyHeaders, openDoor, openRedis } from '../access/door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())

const otherPeer = '192.168.1.5'

t.test('a key makes sixty requests a minute and gets the counts; other clients are not counted', async t => {
  const clock = { moment: Date.parse('2026-11-21T09:00:00Z') }
  const { app, accessKeys } = await openDoor(connections, {}, () => clock.moment)
  t.after(async () => await app.close())
  const first = await accessKeys.create({ name: 'first' })
  const second = await accessKeys.create({ name: 'second', ratePerMinute: 2 })
  const free = await accessKeys.create({ name: 'free', ratePerMinute: null })
  const ask = async ({ accessKey, secret }: typeof first, url = '/who', method: 'GET' | 'POST' = 'GET') =>
    await app.inject({ method, url, headers: keyHeaders({ key: accessKey.key, secret }), remoteAddress: otherPeer })

  for (let left = 59; left >= 0; left--) {
    const answer = await ask(first)
    t.match({ status: answer.statusCode, ...answer.headers }, {
      status: 200,
      'ratelimit-limit': '60',
      'ratelimit-remaining': `${left}`,
      'ratelimit-reset': `${60 - left}`,
      'ratelimit-policy': '"requests";q=60;w=60',
      ratelimit: `"requests";r=${left};t=${60 - left}`
    })
  }
  const over = await ask(first)
  t.equal(over.statusCode, 429)
  t.match(over.json(), { success: false, error: 'api_key_rate_limit' })
  t.match(over.headers, { 'retry-after': '1', 'ratelimit-remaining': '0', 'x-ratelimit-remaining': '0' })
  t.equal((await ask(first, '/jobs', 'POST')).statusCode, 429)
  t.equal((await ask(first, '/job')).statusCode, 200, 'how jobs stand can still be read')
  t.equal((await ask(first, '/job')).headers['ratelimit-limit'], '600')
  clock.moment += 1000
  t.equal((await ask(first)).statusCode, 200)

  const statuses = [await ask(second), await ask(second), await ask(second)].map(({ statusCode }) => statusCode)
  t.strictSame(statuses, [200, 200, 429])
  t.notOk('ratelimit-limit' in (await ask(free)).headers)
  t.notOk('ratelimit-limit' in (await app.inject({ url: '/who' })).headers)
})

t.test('rejected polling does not affect submissions', async t => {
  const { app, accessKeys } = await openDoor(connections, { RATE_LIMIT_PER_MINUTE: '5' }, () => 1_000_000)
  t.after(async () => await app.close())
  const { accessKey: { key }, secret } = await accessKeys.create({ name: 'poller' })
  const headers = keyHeaders({ key, secret })
  const polls = await Promise.all(Array.from({ length: 60 }, async () => await app.inject({ url: '/job', headers })))
  t.equal(polls.filter(({ statusCode }) => statusCode === 429).length, 10)
  const submissions = await Promise.all(Array.from({ length: 6 }, async () =>
    await app.inject({ method: 'POST', url: '/jobs', headers })))
  t.equal(submissions.filter(({ statusCode }) => statusCode === 200).length, 5)
})

t.test('after a thousand wrong logins the right one still works, from the same address', async t => {
  const { app, accessKeys } = await openDoor(connections)
  t.after(async () => await app.close())
  const { accessKey: { key }, secret } = await accessKeys.create({ name: 'a' })
  const ask = async (headers: Record<string, string>) => await app.inject({ url: '/who', headers, remoteAddress: otherPeer })
  const statuses: number[] = []
  for (let attempt = 0; attempt < 1000; attempt++) {
    statuses.push((await ask(keyHeaders({ key, secret: `wrong-${attempt}` }))).statusCode)
  }
  t.strictSame(statuses.slice(0, 10), Array(10).fill(401))
  t.strictSame(statuses.slice(10), Array(990).fill(429))
  const refused = await ask({ authorization: 'Bearer guess' })
  t.match(refused.json(), { error: 'too_many_failed_logins' })
  t.ok(Number(refused.headers['retry-after']) > 0 && Number(refused.headers['retry-after']) <= 60)
  t.equal((await ask(keyHeaders({ key, secret }))).statusCode, 200)
  t.equal((await ask({ authorization: `Bearer ${adminToken}` })).statusCode, 200)
})

t.test('without Redis a cached key can read, and submissions get an error with Retry-After', async t => {
  const own = await openRedis()
  const { app, accessKeys } = await openDoor(own)
  t.after(async () => {
    await app.close()
    await own.close()
  })
  const { accessKey: { key }, secret } = await accessKeys.create({ name: 'a' })
  const headers = keyHeaders({ key, secret })
  t.equal((await app.inject({ url: '/job', headers })).statusCode, 200)
  const closed = Promise.all([once(own.redis, 'close'), once(own.subscriber, 'close')])
  await own.server.kill()
  await closed
  t.equal((await app.inject({ url: '/job', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/job', headers: { ...headers, 'x-api-secret': 'wrong' } })).statusCode, 401)
  t.equal((await app.inject({ url: '/job', headers: { ...headers, 'x-api-key': 'mk_unknown' } })).statusCode, 503)
  t.equal((await app.inject({ url: '/health' })).statusCode, 200)
  t.equal((await app.inject({ url: '/who' })).statusCode, 200, 'this machine needs no Redis to be known')
  const submission = await app.inject({ method: 'POST', url: '/jobs', headers })
  t.equal(submission.statusCode, 503)
  t.match(submission.json(), { error: 'database_error' })
  t.equal((await app.inject({ url: '/who', headers: { authorization: `Bearer ${authToken}` } })).statusCode, 200)
  t.equal((await app.inject({ url: '/who', headers: { authorization: 'Bearer wrong' } })).statusCode, 401)

  // Node's own `once` would reject because of the failed attempts to connect before.
  const back = Promise.all([own.redis, own.subscriber].map(async connection => {
    await new Promise<void>(resolve => { connection.once('ready', () => { resolve() }) })
  }))
  await own.server.restart()
  await back
  t.equal((await app.inject({ url: '/job', headers })).statusCode, 401, 'what is gone for good is not remembered')
})

t.end()
