import t from 'tap'
import { startService } from '../helper.ts'

t.test('changes of a server at the same time all hold, and a removed one stays away', async t => {
  const { services: { registry } } = await startService(t, { worker: 'none' })
  const { id } = registry.require('Main')
  await Promise.all([
    registry.update(id, { paused: true, pauseReason: 'repair' }),
    registry.update(id, { description: 'Big' }),
    registry.update(id, { draining: true })
  ])
  t.match(registry.require('Main'), { paused: true, pauseReason: 'repair', description: 'Big', draining: true })
  await Promise.allSettled([registry.remove(id), registry.update(id, { description: 'Small' })])
  t.equal(registry.byId(id), undefined)
})
