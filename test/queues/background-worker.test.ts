import { type RedisQueueBackend, Worker } from 'bullmq'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { closeWorker } from '../../queues/background-worker.ts'
import { connectRedis } from '../../src/redis/connections.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

t.test('a worker that is closed while BullMQ opens its connection again leaves none', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const connection = await connectRedis(server.url, 'worker', silentLogger)
  t.teardown(() => { connection.disconnect() })
  const connections = async () => String(await connection.client('LIST')).trim().split('\n').length
  const worker = new Worker('some', async () => {}, { connection, prefix: '{sq}', skipVersionCheck: true })
  worker.on('error', () => {})
  await worker.waitUntilReady()
  const waiting = await (worker.getBackend() as RedisQueueBackend).blockingClient
  t.ok(await connections() > 1)

  // As its watch over late answers does.
  waiting?.disconnect(false)
  await closeWorker(worker, 5000)
  await waiting?.connect().catch(() => {})
  for (let attempts = 100; await connections() > 1 && attempts > 0; attempts--) await sleep(10)
  t.equal(await connections(), 1)
})
