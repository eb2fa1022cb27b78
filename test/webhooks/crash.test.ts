import t, { type Test } from 'tap'
import { createWebhookQueue } from '../../queues/webhooks.ts'
import { startWorker } from '../../src/main/worker.ts'
import { createLeaseStore, describeHolder } from '../../src/servers/lease.ts'
import { createOutbox, deliveryOf } from '../../src/webhooks/outbox.ts'
import { claimNext, quick, silentLogger, startService } from '../helper.ts'
import { type Received, type Respond, startReceiver as startReceiverWith } from './receiver.ts'

// There is no delivery until a test starts a worker.
const service = await startService(t, {
  worker: 'none', settings: { EGRESS_PROFILE: 'lan', WEBHOOK_TIMEOUT_SECONDS: '120' }
})
const { services } = service
const startReceiver = async (t: Test, respond?: Respond) =>
  await startReceiverWith(t, [services.webhooks.signingKeys.ownSecret], respond)

const idsOf = (requests: readonly Received[]) => new Set(requests.map(({ headers }) => headers['webhook-id']))
const of = (jobId: string) => ({ event }: Received) => event.data.id === jobId

/** Ends a job like its worker, without a worker that delivers. */
async function endByHand (id: string): Promise<void> {
  const { store, registry, redis, keys } = services
  const [server] = registry.list()
  const claim = { id, run: 1, serverId: server?.id ?? '', owner: 'this test' }
  const lease = await createLeaseStore(redis, keys, describeHolder(claim.owner)).acquire(claim.serverId, 10)
  const fence = lease.kind === 'taken' ? lease.fence : 0
  await claimNext(services, claim.serverId, fence)
  await store.start(claim, fence)
  await store.end(claim, 'failed', { error: { code: 'a1111_error', message: 'It broke.', failureClass: 'passing' } })
  await store.end(claim, 'failed', { error: { code: 'a1111_error', message: 'It broke.', failureClass: 'passing' } })
}

t.test('a crash after any step of the relay leads to the same one event', async t => {
  const receiver = await startReceiver(t)
  const submit = async () => await service.submit(quick, { webhookUrl: receiver.url })
  const jobs = { nothing: await submit(), record: await submit(), entry: await submit() }
  for (const id of Object.values(jobs)) await endByHand(id)

  const entries = await createOutbox(services.redis, services.keys).read(10)
  t.equal(entries.length, 3, 'one entry for each end, although each was reported twice')
  const queue = createWebhookQueue({ connection: services.redis, keys: services.keys, log: silentLogger })
  t.teardown(queue.close)
  for (const { notice } of entries) {
    const delivery = notice === null ? null : deliveryOf(notice, { imageUrls: services.imageUrls, linkLifetime: 0 })
    if (delivery === null || delivery.jobId === jobs.nothing) continue
    await services.webhooks.deliveries.create(delivery)
    if (delivery.jobId === jobs.entry) await queue.add({ id: delivery.id, round: 0 })
  }

  const worker = await startWorker(services)
  t.teardown(worker.close)
  for (const [step, id] of Object.entries(jobs)) {
    const requests = await receiver.until(1, of(id))
    t.equal(idsOf(requests).size, 1, `crash after: ${step}`)
    t.match(requests[0]?.event, { type: 'job.failed', data: { status: 'failed', error: { code: 'a1111_error', message: 'It broke.' } } })
  }
})

t.test('an event contains the job as it was then, even if the job is retried or deleted since', async t => {
  const receiver = await startReceiver(t)
  const retried = await service.submit(quick, { webhookUrl: receiver.url })
  const deleted = await service.submit(quick, { webhookUrl: receiver.url })
  for (const id of [retried, deleted]) await endByHand(id)
  await service.request('POST', '/api/v1/servers/Main/pause')
  t.equal((await service.request('POST', `/api/v2/jobs/${retried}/retry`)).status, 200)
  t.equal((await service.request('DELETE', `/api/v2/jobs/${deleted}`)).status, 200)
  const worker = await startWorker(services)
  t.teardown(worker.close)
  for (const id of [retried, deleted]) {
    const [request] = await receiver.until(1, of(id))
    t.match(request?.event, { type: 'job.failed', data: { status: 'failed', sequence: 1, error: { code: 'a1111_error' } } })
  }
  await service.request('POST', '/api/v1/servers/Main/resume')
})

t.test('a receiver that never answers delays neither a server nor other receivers', async t => {
  const worker = await startWorker(services)
  const hole = await startReceiver(t, () => {})
  const good = await startReceiver(t)
  const jobs: string[] = []
  for (let count = 0; count < 4; count++) jobs.push(await service.submit(quick, { webhookUrl: hole.url }))
  for (const id of jobs) t.equal((await service.until(id, 'completed')).status, 'completed')
  await hole.until(2)
  await service.submit(quick, { webhookUrl: good.url })
  t.match(await good.until(1), [{ event: { type: 'job.completed' } }])
  t.equal(hole.requests.length, 2, 'two at a time go there')

  await worker.close()
  const [stopped] = await services.webhooks.deliveries.ofJob(hole.requests[0]?.event.data.id ?? '')
  t.match(stopped, { state: 'pending', attempts: 0 }, 'what a stop broke off counts for nothing')
  hole.respond((_request, response) => { response.writeHead(204).end() })
  const next = await startWorker(services)
  t.teardown(next.close)
  t.equal(idsOf(await hole.until(6)).size, 4, 'and goes on with the next worker')
})

t.end()
