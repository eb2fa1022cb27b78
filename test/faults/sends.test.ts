import t from 'tap'
import type { JobAttempt } from '../../src/jobs/job.ts'
import type { GiveBack } from '../../src/jobs/store.ts'
import { createLeaseStore, describeHolder } from '../../src/servers/lease.ts'
import { claimNext, quick, startService } from '../helper.ts'

const service = await startService(t, { worker: 'none' })
const { services: { store, registry, redis, keys } } = service
const serverId = registry.list()[0]?.id ?? ''
const lease = await createLeaseStore(redis, keys, describeHolder('test')).acquire(serverId, 600_000)
const fence = lease.kind === 'taken' ? lease.fence : 0
const maxAttempts = 3

const lost: JobAttempt = {
  run: 1,
  server: 'Main',
  startedAt: 0,
  endedAt: 1,
  error: { code: 'worker_lost', message: 'The worker process ended.', failureClass: 'internal' }
}

/** Sends a job and returns it in this way, repeatedly, until it is no longer in the queue; returns how often. */
async function sendOn (id: string, ways: ReadonlyArray<GiveBack['disposition']>): Promise<number> {
  let sends = 0
  for (const disposition of ways) {
    const { status, run } = await store.get(id)
    if (status !== 'pending') break
    t.equal((await claimNext(service.services, serverId, fence))?.id, id)
    const claim = { id, run, serverId, owner: `test:${sends}` }
    t.equal(await store.start(claim, fence), 'started')
    sends += 1
    await store.giveBack(claim, { attempts: [lost], usedAttempts: 0, crashes: 0, delayMs: 0, disposition, maxAttempts })
  }
  return sends
}

const times = (count: number, disposition: GiveBack['disposition']) => new Array<GiveBack['disposition']>(count).fill(disposition)

t.test('a job that loses its worker or server again and again is sent as often as allowed, and no more', async t => {
  const id = await service.submit(quick)
  t.equal(await sendOn(id, times(10, 'answers')), 3)
  t.match(await service.job(id), { status: 'failed', error: { code: 'worker_lost' } })
  t.equal(await store.position(await store.get(id)), null)
  t.equal((await service.request('POST', `/api/v2/jobs/${id}/retry`)).status, 200)
  t.equal(await sendOn(id, times(10, 'answers')), 3, 'a retry by hand starts from zero')
})

t.test('a server that died allows one more generation; a send that never arrived, or was stopped in order, does not count', async t => {
  const dying = await service.submit(quick)
  t.equal(await sendOn(dying, [...times(4, 'gone'), ...times(10, 'answers')]), 7)
  const held = await service.submit(quick)
  t.equal(await sendOn(held, [...times(5, 'unsent'), ...times(5, 'stopped'), ...times(10, 'answers')]), 13)
  for (const id of [dying, held]) t.match(await service.job(id), { status: 'failed' })
})

t.test('a job that is to be cancelled is cancelled, not failed, when it returns for the last time', async t => {
  const id = await service.submit(quick)
  t.equal(await sendOn(id, times(2, 'answers')), 2)
  const { run } = await store.get(id)
  await claimNext(service.services, serverId, fence)
  const claim = { id, run, serverId, owner: 'test:last' }
  await store.start(claim, fence)
  await store.cancel(id)
  t.equal(await store.giveBack(claim, {
    attempts: [lost], usedAttempts: 0, crashes: 0, delayMs: 0, disposition: 'answers', maxAttempts
  }), 'cancelled')
})
