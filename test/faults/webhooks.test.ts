import { once } from 'node:events'
import { Redis } from 'ioredis'
import t from 'tap'
import { quick } from '../helper.ts'
import { startReceiver, type Received } from '../webhooks/receiver.ts'
import { startFleet, type ServiceProcess } from './processes.ts'

const lan = { EGRESS_PROFILE: 'lan', WEBHOOK_RETRY_SCHEDULE: '50ms,50ms,50ms', WEBHOOK_TIMEOUT_SECONDS: '2' }

const idsOf = (requests: readonly Received[]) => new Set(requests.map(({ headers }) => headers['webhook-id']))
const of = (jobId: string) => ({ event }: Received) => event.data.id === jobId

/** Gives what resolves when a script has written to the outbox, about when a worker begins to make a delivery of it. */
async function listenForOutbox (redisUrl: string, channel: string): Promise<() => Promise<void>> {
  const subscriber = new Redis(redisUrl, { maxRetriesPerRequest: null })
  await subscriber.subscribe(channel)
  const written = once(subscriber, 'message').finally(() => { subscriber.disconnect() })
  return async () => { await written }
}

t.test('a worker killed between the end of a job and its delivery neither loses nor doubles the end', async t => {
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const api = await fleet.api(lan)
  const { webhook_secret: secret } = (await api.request('GET', '/api/v1/webhooks/secret')).body
  const receiver = await startReceiver(t, [String(secret)])
  let worker: ServiceProcess = await fleet.worker(lan)
  for (let kills = 0; kills < 2; kills++) {
    const written = await listenForOutbox(fleet.redis.url, fleet.keys.channel('webhooks'))
    const id = await api.submit(quick, { webhookUrl: receiver.url })
    await written()
    await worker.kill()
    t.equal((await api.job(id)).status, 'completed')
    worker = await fleet.worker(lan)
    const requests = await receiver.until(1, of(id))
    t.equal(idsOf(requests).size, 1, `${requests.length} deliveries, one event`)
  }

  await t.test('and one killed while it delivers has another deliver it under the same id', async t => {
    receiver.respond((_request, response, count) => {
      if (count === before + 1) worker.signal('SIGKILL')
      else response.writeHead(204).end()
    })
    const before = receiver.requests.length
    const id = await api.submit(quick, { webhookUrl: receiver.url })
    await receiver.until(1, of(id))
    await worker.ended
    worker = await fleet.worker(lan)
    const requests = await receiver.until(2, of(id))
    t.equal(idsOf(requests).size, 1)
    t.equal(new Set(requests.map(({ text }) => text)).size, 1)
  })
  t.equal(await fleet.look.xlen(fleet.keys.key('webhook-outbox')), 0)
})

t.end()
