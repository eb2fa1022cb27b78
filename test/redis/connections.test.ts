import t from 'tap'
import type { Redis } from 'ioredis'
import { parseRedisAddress } from '../../src/redis/address.ts'
import { checkRedis, judgeRedis, parseInfo } from '../../src/redis/check.ts'
import { connectRedis, createConnection, sendNow, type ConnectionKind } from '../../src/redis/connections.ts'
import type { Log } from '../../src/lib/logging.ts'
import { startTestRedis } from '../redis.ts'

function recordingLog () {
  const lines: string[] = []
  const record = (line: unknown) => { lines.push(String(line)) }
  const log: Log = { trace: record, debug: record, info: record, warn: record, error: record }
  return { lines, log }
}

/** The next event of that name; unlike Node's `once` it ignores `error` events. */
function next (redis: Redis, event: string): Promise<unknown[]> {
  return new Promise(resolve => redis.once(event, (...values) => resolve(values)))
}

t.test('commands of the last callbacks of a turn can be sent before the next turn', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = await connectRedis(server.url, 'request', recordingLog().log)
  t.teardown(() => { redis.disconnect() })
  const kept: number[] = []
  await new Promise<unknown>(resolve => {
    setImmediate(() => {
      resolve(redis.set('sent', 'now'))
      kept.push(redis.stream.writableLength)
      sendNow(redis)
      kept.push(redis.stream.writableLength)
    })
  })
  t.ok(Number(kept[0]) > 0)
  t.equal(kept[1], 0)
  t.equal(await redis.get('sent'), 'now')
})

t.test('while Redis is away, a command of a request fails at once and one of a worker waits', async t => {
  const server = await startTestRedis({ persistence: 'always' })
  t.teardown(server.stop)
  const { lines, log } = recordingLog()
  const request = await connectRedis(server.url, 'request', log)
  const worker = await connectRedis(server.url, 'worker', log)
  t.teardown(() => { request.disconnect(); worker.disconnect() })
  await request.set('kept', 'yes')

  const closed = Promise.all([next(request, 'reconnecting'), next(worker, 'reconnecting')])
  await server.kill()
  await closed
  await t.rejects(request.get('kept'), 'the caller hears of it')
  const waiting = worker.get('kept')
  const retried = next(worker, 'reconnecting')
  await retried
  const back = next(request, 'ready')
  await server.restart()
  t.equal(await waiting, 'yes', 'the worker gets its answer after the outage')
  await back
  t.equal(await request.get('kept'), 'yes')
  t.equal(lines.filter(line => line.includes('request connection') && line.includes('is away')).length, 1)
  t.equal(lines.filter(line => line.includes('request connection') && line.endsWith('is back')).length, 1)
})

t.test('a subscriber gets messages of its channel again after an outage', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const { log } = recordingLog()
  const subscriber = await connectRedis(server.url, 'subscriber', log)
  const publisher = await connectRedis(server.url, 'worker', log)
  t.teardown(() => { subscriber.disconnect(); publisher.disconnect() })
  await subscriber.subscribe('news')
  const back = next(subscriber, 'ready')
  await server.kill()
  await server.restart()
  await back
  const heard = next(subscriber, 'message')
  // The subscription is renewed right after `ready`; publishing returns the number of listeners.
  while (await publisher.publish('news', 'hello') === 0);
  t.same(await heard, ['news', 'hello'])
})

t.test('the error for an address without Redis contains the address and not its password', async t => {
  const { log } = recordingLog()
  const url = 'redis://user:hunter2@localhost?path=/nonexistent/redis.sock'
  for (const kind of ['request', 'worker', 'subscriber'] satisfies ConnectionKind[]) {
    const error = await connectRedis(url, kind, log, 50).then(() => t.fail('connected'), (error: Error) => error)
    t.match(error, { message: /unix:\/\/\/nonexistent\/redis\.sock cannot be used: .*ENOENT.*Check that it runs/ })
    t.notMatch(error, { message: /hunter2/ })
  }
})

t.test('a wrong password is final, and the error says where to look', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const { log } = recordingLog()
  const open = await connectRedis(server.url, 'worker', log)
  t.teardown(() => open.disconnect())
  await open.config('SET', 'requirepass', 'right')
  const path = new URL(server.url).searchParams.get('path')
  for (const login of ['', ':wrong@']) {
    await t.rejects(connectRedis(`unix://${login}${path}`, 'request', log, 60_000), { message: /Check the user, password/ })
  }
  const allowed = await connectRedis(`unix://:right@${path}?db=3`, 'request', log)
  t.teardown(() => allowed.disconnect())
  t.match(await allowed.client('INFO'), / db=3 /)
})

t.test('every form of an address is understood', async t => {
  t.strictSame(parseRedisAddress('redis://me:p%40ss@cache.example/2'), {
    options: { host: 'cache.example', port: 6379, db: 2, username: 'me', password: 'p@ss' },
    shown: 'redis://cache.example:6379'
  })
  t.match(parseRedisAddress('rediss://[::1]:6380').options, { tls: {}, host: '::1', port: 6380 })
  t.strictSame(parseRedisAddress('redis+sentinel://:secret@one:26379,[fd00::1]:26380,three/main?db=1'), {
    options: {
      sentinels: [{ host: 'one', port: 26379 }, { host: 'fd00::1', port: 26380 }, { host: 'three', port: 26379 }],
      name: 'main',
      db: 1,
      password: 'secret'
    },
    shown: 'redis+sentinel://one:26379,[fd00::1]:26380,three/main'
  })
  for (const wrong of ['', 'localhost:6379', 'http://localhost', 'redis://host/words', 'redis+sentinel://host:1', 'redis://a:b@:x']) {
    t.throws(() => parseRedisAddress(wrong), { message: /must be like redis:/ }, wrong)
  }
  t.throws(() => createConnection('http://x:hunter2@y', 'worker', recordingLog().log), /must be like redis:/)
})

t.test('a Redis that can lose jobs is detected', async t => {
  const server = await startTestRedis({ persistence: 'always' })
  t.teardown(server.stop)
  const redis = await connectRedis(server.url, 'request', recordingLog().log)
  t.teardown(() => redis.disconnect())
  t.same((await checkRedis(redis)).map(finding => finding.level), ['fine', 'fine', 'fine', 'fine'])

  await redis.config('SET', 'maxmemory', '100mb', 'maxmemory-policy', 'allkeys-lru', 'appendonly', 'no')
  const levels = Object.fromEntries((await checkRedis(redis)).map(({ topic, level }) => [topic, level]))
  t.same(levels, {
    'redis version': 'fine', 'redis eviction': 'problem', 'redis persistence': 'warning', 'redis memory': 'fine'
  })

  const old = parseInfo('# Server\r\nredis_version:6.0.16\r\naof_enabled:1\r\naof_last_write_status:err\r\n' +
    'used_memory:95\r\nmaxmemory:100\r\n')
  const findings = judgeRedis({ info: old, appendfsync: undefined })
  t.same(findings.map(({ level }) => level), ['problem', 'problem', 'problem', 'problem'])
  for (const { remedy } of findings) t.ok(remedy, 'each says what to do')
})

t.test('a stalled Redis costs one time limit; after that requests fail at once until it continues', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = await connectRedis(server.url, 'request', recordingLog().log, undefined, 300)
  t.teardown(() => redis.disconnect())
  redis.defineCommand('count', { numberOfKeys: 1, lua: "return redis.call('INCR', KEYS[1])" })
  const count = async () => await (Reflect.get(redis, 'count') as (key: string) => Promise<number>).call(redis, 'counted')
  t.equal(await count(), 1)
  process.kill(server.pid(), 'SIGSTOP')
  t.teardown(() => { process.kill(server.pid(), 'SIGCONT') })
  const begun = performance.now()
  for (const outcome of await Promise.allSettled([
    redis.get('a'), redis.pipeline().get('a').get('b').exec().then(replies => { throw replies?.[0]?.[0] }),
    redis.multi().set('a', 1).exec(), count()
  ])) t.match(outcome, { status: 'rejected', reason: { message: /timed out/ } })
  const limit = performance.now() - begun
  const soon = performance.now()
  for (const work of [async () => { await redis.get('a') }, async () => { await redis.multi().set('a', 2).exec() }, async () => { await count() }]) {
    await t.rejects(work(), { name: 'RedisSilence' })
  }
  t.ok(performance.now() - soon < limit, 'what comes next does not wait as long')
  process.kill(server.pid(), 'SIGCONT')
  let answered: unknown
  while (answered !== 'PONG') {
    answered = await redis.ping().catch(() => null)
    await new Promise(resolve => { setTimeout(resolve, 5) })
  }
  t.equal(await count(), 3, 'what had been sent is carried out late, what came after it never')
})
