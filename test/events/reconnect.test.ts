import t from 'tap'
import type { EventView } from '../../schemas/event.ts'
import { createApp } from '../../src/main/app.ts'
import { startRedisProxy } from '../faults/redis-proxy.ts'
import { quick, silentLogger, startService } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { kindsOf, listenTo } from './listener.ts'

const settings = { MASTER_KEY: '5'.repeat(64) }
const redis = await startTestRedis()
t.teardown(redis.stop)
const service = await startService(t, { redis, settings })
const servers = { Main: service.simulator.url }

/** Another process of the API from the view of Redis: it has services of its own. */
async function startOther (its = redis) {
  const { services } = await startService(t, { redis: its, settings, servers, worker: 'none' })
  return services
}

t.test('over reconnects, restarts and other processes no end is missed, and none sent twice', async t => {
  const services = await startOther()
  const heard: EventView[] = []
  const jobIds: string[] = []
  let lastEventId = ''
  const isDone = () => jobIds.every(id => heard.some(({ kind, job_id: of }) => kind === 'completed' && of === id))

  /** Listens at one address until it is disconnected, and keeps the last id, as a browser does. */
  async function listenAt (url: string, work: () => Promise<void>): Promise<void> {
    const listener = await listenTo(`${url}/api/v1/events?kinds=accepted,started,completed,failed`,
      lastEventId === '' ? {} : { 'Last-Event-ID': lastEventId })
    await listener.untilKind('ready')
    await work()
    listener.close()
    await listener.ended()
    t.notOk(listener.events.some(({ kind }) => kind === 'reset'))
    heard.push(...listener.events.filter(({ kind }) => kind !== 'ready'))
    lastEventId = listener.lastEventId()
  }

  for (let round = 0; round < 12; round++) {
    const submit = async () => { jobIds.push(await service.submit(quick)) }
    if (round % 2 === 0) {
      await listenAt(service.url, submit)
    } else {
      const app = await createApp({ services, logger: silentLogger, tokens: [] })
      const url = await app.listen({ host: '127.0.0.1', port: 0 })
      await listenAt(url, async () => {
        await submit()
        await app.close()
      })
    }
    // Without any listener.
    await submit()
  }
  while (!isDone()) await listenAt(service.url, async () => { await service.until(jobIds.at(-1) ?? '', 'completed') })
  for (const id of jobIds) {
    t.strictSame(heard.filter(event => event.job_id === id).map(({ kind }) => kind), ['accepted', 'started', 'completed'])
  }
})

t.test('events during a process\' disconnection from Redis arrive when it is back', async t => {
  const proxy = await startRedisProxy(t, redis)
  const other = await startService(t, { redis: proxy, settings, servers, worker: 'none' })
  const listener = await listenTo(`${other.url}/api/v1/events`)
  t.teardown(listener.close)
  await listener.untilKind('ready')
  proxy.cut()
  const missed = await service.submit(quick)
  await service.until(missed, 'completed')
  proxy.repair()
  await listener.until(({ kind, job_id: id }) => kind === 'completed' && id === missed)
  const next = await service.submit(quick)
  await listener.until(({ kind, job_id: id }) => kind === 'completed' && id === next)
  for (const id of [missed, next]) {
    t.strictSame(kindsOf(listener.events.filter(event => event.job_id === id)), ['accepted', 'started', 'image', 'completed'])
  }

  proxy.cut()
  for (let count = 0; count < 3; count++) await service.until(await service.submit(quick), 'completed')
  await service.services.redis.xtrim(service.services.keys.key('events'), 'MAXLEN', 1)
  proxy.repair()
  await listener.untilKind('reset')
})
