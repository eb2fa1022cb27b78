import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { openServices } from '../../src/services/services.ts'
import { quick, startService, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { checkInvariants } from './invariants.ts'

/** Every way in for a job, and other calls that change something. */
const submissions: ReadonlyArray<readonly [path: string, body: unknown]> = [
  ['/api/v1/generate', { target_server_alias: 'Main', generation_params: quick }],
  ['/api/v2/generate', { target_server_alias: 'Main', generation_params: quick }],
  ['/api/v2/generate/bulk', { target_server_alias: 'Main', generation_params: quick, bulk_quantity: 2 }],
  ['/sdapi/v1/txt2img', quick],
  ['/sdapi/v1/txt2img?async=1', quick],
  ['/generate/txt2img', { prompt: 'a lighthouse', user_id: 'someone' }],
  ['/api/v1/events/ticket', undefined],
  ['/api/v1/api-keys', { name: 'a key' }]
]
const lists = ['/api/v2/jobs', '/api/v1/servers', '/api/v1/api-keys', '/sessions/someone', '/sdapi/v1/jobs', '/queue']

/** Every interface answers 503 with the reason in plain words, and says when to retry. */
async function checkRefusals (t: Test, service: Service, reason: RegExp): Promise<void> {
  for (const [path, body] of submissions) {
    const answer = await service.request('POST', path, body)
    t.equal(answer.status, 503, `${path}: ${JSON.stringify(answer.body)}`)
    t.match(JSON.stringify(answer.body), reason, path)
    t.match(answer.headers.get('retry-after'), /^\d+$/, path)
    if (path.startsWith('/api/')) t.equal(answer.body.error, 'database_unavailable', path)
  }
  const ready = await service.request('GET', '/ready')
  t.equal(ready.status, 503)
  t.match(JSON.stringify(ready.body), reason)
  t.equal((await service.request('GET', '/health')).status, 200)
}

t.test('a Redis that rejects writes: 503 with its reason on every interface, and work continues when it accepts them again', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const service = await startService(t, { redis, simulator: { stepMilliseconds: 1 } })
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })

  await t.test('its memory is full', async t => {
    await admin.config('SET', 'maxmemory', '1')
    await checkRefusals(t, service, /reached its memory limit/)
    await admin.config('SET', 'maxmemory', '0')
  })
  await t.test('it has too few replicas', async t => {
    await admin.config('SET', 'min-replicas-to-write', '1')
    await checkRefusals(t, service, /fewer replicas than it needs/)
    await admin.config('SET', 'min-replicas-to-write', '0')
  })
  await t.test('it has become read-only', async t => {
    await admin.acl('SETUSER', 'default', '-@write')
    await checkRefusals(t, service, /has no right to a command, key or channel/)
    await admin.acl('SETUSER', 'default', '+@all')
  })
  const id = await service.submit(quick)
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  t.equal((await service.request('GET', '/api/v2/jobs')).body.total, 1, 'nothing was accepted meanwhile')
  await checkInvariants(t, [id], {
    look: service.services.redis, keys: service.services.keys, dataDirectory: service.dataDirectory
  })
})

t.test('a stalled Redis: 503 within the time limit, and rejected requests are not executed later', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const service = await startService(t, {
    redis, settings: { REDIS_TIMEOUT_SECONDS: '0.4' }, simulator: { stepMilliseconds: 20 }
  })
  const running = await service.submit({ ...quick, steps: 60 })
  await service.until(running, 'processing')
  const waiting = await service.submit(quick)

  process.kill(redis.pid(), 'SIGSTOP')
  t.teardown(() => { process.kill(redis.pid(), 'SIGCONT') })
  t.equal((await service.request('GET', '/health')).status, 200, 'the first call of all')
  const answers = await Promise.all(submissions.map(async ([path, body]) => await service.request('POST', path, body)))
  for (const [index, { status, headers }] of answers.entries()) {
    t.equal(status, 503, submissions[index]?.[0] ?? '')
    t.match(headers.get('retry-after'), /^\d+$/)
  }
  for (const path of [...lists, `/api/v2/jobs/${waiting}/events`, '/ready']) {
    t.equal((await service.request('GET', path)).status, 503, path)
  }
  for (const path of ['/api/v1/events', `/api/v2/jobs/${waiting}/events`]) {
    const { status, headers } = await service.request('GET', path, undefined, { 'last-event-id': '1-1' })
    t.match({ status, retryAfter: headers.get('retry-after') }, { status: 503, retryAfter: /^\d+$/ }, `${path} for one who comes back`)
  }
  await checkRefusals(t, service, /Redis does not answer/)
  t.match((await service.request('GET', '/health')).body, { status: 'healthy' })

  process.kill(redis.pid(), 'SIGCONT')
  while ((await service.request('GET', '/ready')).status !== 200) await sleep(20)
  for (const id of [running, waiting, await service.submit(quick)]) {
    t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  }
  t.equal((await service.request('GET', '/api/v2/jobs')).body.total, 3, 'no job was made of a request that got 503')
  t.equal(service.simulator.state().generations.length, 3, 'each was generated once')
})

t.test('a Redis that returns empty is reported at once, at level error; one that returns with its data is not', async t => {
  const redis = await startTestRedis({ persistence: 'always' })
  t.teardown(redis.stop)
  const folder = await mkdtemp(join(tmpdir(), 'sq-trial-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write (line: string) { lines.push(line) } })
  const errors = () => lines.filter(line => (JSON.parse(line) as { level: number }).level >= 50)
  const config = parseSettings({ REDIS_URL: redis.url, DATA_DIR: folder })
  const services = await openServices(config, redis.url, logger)
  t.teardown(services.close)
  const back = async () => {
    while (await services.redis.ping().catch(() => null) !== 'PONG') await new Promise(resolve => { setTimeout(resolve, 10) })
    // The query was sent when the connection came back, so its answer arrives before this one.
    await services.redis.get(services.keys.key('installation'))
    await services.redis.get(services.keys.key('installation'))
  }
  await redis.kill()
  await redis.restart()
  await back()
  t.same(errors(), [])

  const id = await services.redis.get(services.keys.key('installation'))
  await services.media.writeSweepMark(JSON.stringify({ installation: id, arrival: 0 }))
  await services.redis.flushall()
  await redis.kill()
  await redis.restart()
  await back()
  t.match(errors()[0], /Redis is empty or another than before/)
  lines.length = 0
  const next = await openServices(config, redis.url, logger)
  await next.close()
  t.match(errors()[0], /Redis is empty or another than before/, 'also by a later start, from what DATA_DIR knows')
})
