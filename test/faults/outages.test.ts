import t from 'tap'
import { startTestRedis } from '../redis.ts'
import { quick, startService } from '../helper.ts'
import type { JobScriptName } from '../../src/jobs/scripts/index.ts'
import { checkInvariants } from './invariants.ts'
import { startRedisProxy } from './redis-proxy.ts'

t.test('an answer of Redis that is lost on its way neither loses a job nor its images', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const proxy = await startRedisProxy(t, redis)
  const service = await startService(t, { redis: proxy, simulator: { stepMilliseconds: 20 } })
  const traces = { look: service.house.redis, keys: service.house.keys, dataDirectory: service.dataDirectory }
  const ids = [await service.submit(quick)]
  await service.until(ids[0] ?? '', 'completed')

  for (const script of ['startJob', 'noteProgress', 'endJob'] satisfies JobScriptName[]) {
    await t.test(script, async t => {
      proxy.loseAnswerTo(script)
      const before = proxy.lost()
      const id = await service.submit({ ...quick, steps: 40 })
      ids.push(id)
      t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
      t.equal(proxy.lost(), before + 1)
      t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
      await checkInvariants(t, ids, traces)
    })
  }
  await t.test('returnJob', async t => {
    service.simulator.setFaults([{ kind: 'cut-body' }])
    proxy.loseAnswerTo('returnJob')
    const id = await service.submit(quick)
    ids.push(id)
    t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
    await checkInvariants(t, ids, traces)
  })
})
