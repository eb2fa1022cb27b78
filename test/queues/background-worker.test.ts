import { type RedisQueueBackend, Worker } from 'bullmq'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { closeWorker, waitTogether } from '../../queues/background-worker.ts'
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

const workerOf = (backend: object) => ({ getBackend: () => backend }) as unknown as Worker

t.test('the workers of a process end their waits together', async t => {
  const asked: number[] = []
  for (let count = 0; count < 2; count++) {
    const backend = {
      async waitForJob (seconds: number) {
        asked.push(performance.now() / 1000 + seconds)
        return null
      }
    }
    waitTogether(workerOf(backend))
    await sleep(20)
    await backend.waitForJob(10)
  }
  const [first = 0, second = -1] = asked
  const apart = Math.abs(first - second)
  t.ok(apart < 0.01 || Math.abs(apart - 10) < 0.01, `${apart} s apart, or at the next but one`)

  const short: number[] = []
  const backend = {
    blockingConnection: { capabilities: { canDoubleTimeout: false } },
    async waitForJob (seconds: number) {
      short.push(seconds)
      return null
    }
  }
  waitTogether(workerOf(backend))
  await backend.waitForJob(0.001)
  t.same(short, [0.001], 'a delayed entry that is due sooner ends the wait')
  t.same(backend.blockingConnection.capabilities, { canDoubleTimeout: true }, 'Redis gets fractions of seconds')
})
