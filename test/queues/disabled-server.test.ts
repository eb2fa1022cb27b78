import t from 'tap'
import { startWorker } from '../../src/main/worker.ts'
import { createLeaseStore, describeHolder } from '../../src/servers/lease.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { claimNext, fast, quick, startService } from '../helper.ts'

t.test('a server is disabled when the worker that served it has died', async t => {
  const other = await startSimulator(fast)
  t.teardown(other.close)
  const main = await startSimulator(fast)
  t.teardown(main.close)
  const service = await startService(t, { worker: 'none', servers: { Main: main.url, Other: other.url } })
  const { services, request } = service
  const { store, registry, redis, keys } = services
  const { id: serverId } = registry.require('Main')
  // It has not expired when the next worker starts, which then has to watch it.
  const lease = await createLeaseStore(redis, keys, describeHolder('dead')).acquire(serverId, 3000)
  const fence = lease.kind === 'taken' ? lease.fence : 0

  /** As the worker left it: running, or only claimed. */
  async function leave (target: string, status: 'running' | 'claimed'): Promise<string> {
    const id = await service.submit(quick, { target_server_alias: target })
    t.equal((await claimNext(services, serverId, fence))?.id, id)
    if (status === 'running') await store.start({ id, run: 1, serverId, owner: 'dead:1' }, fence)
    return id
  }
  const free = await leave('default', 'running')
  const cancelled = await leave('default', 'running')
  const bound = await leave('Main', 'running')
  const claimed = await leave('default', 'claimed')
  t.match(await request('PUT', '/api/v1/servers/Main', { enabled: false }), { status: 200 })
  t.match(await request('POST', `/api/v2/jobs/${cancelled}/cancel`), { status: 200, body: { job: { status: 'processing' } } })

  const worker = await startWorker(services)
  t.teardown(worker.close)
  t.match(await service.until(free, 'completed', 'failed'), {
    status: 'completed', target_server_alias: 'Other', attempts: [{ server: 'Main', code: 'worker_lost' }]
  }, 'what ran there runs elsewhere')
  t.match(await service.until(claimed, 'completed', 'failed'), { status: 'completed', target_server_alias: 'Other', attempts: [] })
  t.match(await service.until(cancelled, 'cancelled', 'completed', 'failed'), { status: 'cancelled' })
  t.match(await service.until(bound, 'pending', 'completed'), { status: 'pending', target_server_alias: 'Main' },
    'what needs this server waits for it')
  t.equal(main.state().generations.length, 0)
  t.match(await request('DELETE', '/api/v1/servers/Main?jobs=cancel'), { status: 200 }, 'it can be removed')
})
