import { Queue, type RedisQueueBackend, Worker } from 'bullmq'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { closeWorker, startQueueWorker, waitTogether } from '../../queues/background-worker.ts'
import { connectRedis } from '../../src/redis/connections.ts'
import { createKeys } from '../../src/lib/keys.ts'
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

t.test('a worker keeps the locks of its jobs, and takes over those of a worker that died', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const connection = await connectRedis(server.url, 'worker', silentLogger)
  t.teardown(() => { connection.disconnect() })
  const keys = createKeys('sq')
  const queue = new Queue('some', { connection, prefix: keys.bullPrefix, skipVersionCheck: true })
  t.teardown(async () => { await queue.close() })
  const dying = new Worker('some', null, { connection, prefix: keys.bullPrefix, skipVersionCheck: true, lockDuration: 50 })
  dying.on('error', () => {})
  await queue.add('work', {}, { jobId: 'only' })
  t.equal((await dying.getNextJob('dying', { block: false }))?.id, 'only')
  await dying.close(true)

  const stop = new AbortController()
  const left: number[] = []
  const { worker, stopBeats } = startQueueWorker({
    connection,
    keys,
    log: silentLogger,
    name: 'some',
    atOnce: 1,
    lockSeconds: 3,
    stalledSeconds: 1,
    async run () {
      const isRenewed = () => left.some((ms, index) => ms > (left[index - 1] ?? Infinity))
      while (!isRenewed() && !stop.signal.aborted) {
        left.push(await connection.pttl(queue.toKey('only:lock')))
        await sleep(20)
      }
    }
  })
  t.teardown(() => { stop.abort() })
  await new Promise(resolve => { worker.once('completed', resolve) })
  await closeWorker(worker, 5000)
  stopBeats()
  t.ok(left.every(ms => ms > 0), 'it was never without a lock')
})
