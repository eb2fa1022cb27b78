import t from 'tap'
import { createServerRegistry } from '../../src/servers/registry.ts'
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

t.test('one of several processes that add a name at the same time adds it, and a removal leaves it to the next', async t => {
  const { services: { registry, redis, keys, encryptor } } = await startService(t, { worker: 'none' })
  const connections = [redis.duplicate(), redis.duplicate(), redis.duplicate()]
  t.teardown(() => { for (const connection of connections) connection.disconnect() })
  await Promise.all(connections.map(connection => connection.connect()))
  const others = connections.map(connection => createServerRegistry({ redis: connection, keys, encryptor }))
  const address = { baseUrl: 'http://127.0.0.1:9' }
  for (let round = 0; round < 20; round++) {
    const alias = `Round ${round}`
    const outcomes = await Promise.allSettled(others.map(other => other.add({ alias, address, origin: 'settings' })))
    t.same(outcomes.map(outcome => outcome.status === 'rejected' ? outcome.reason.code : 'added').sort(),
      ['added', 'server_exists', 'server_exists'])
    await registry.refresh()
    const [id = '', ...more] = registry.list().filter(server => server.alias === alias).map(server => server.id)
    t.same(more, [])
    await Promise.all([
      registry.remove(id),
      ...others.map(other => other.add({ alias, address, origin: 'settings' }).catch(() => {}))
    ])
    await registry.refresh()
    const left = registry.list().filter(server => server.alias === alias)
    t.ok(left.length <= 1, 'no two servers have a name')
    if (left.length === 1) {
      await t.rejects(registry.add({ alias, address, origin: 'user' }), { code: 'server_exists' }, 'the name is known')
    }
  }
})

t.test('a name that a server gives up is free, and one that two servers want at the same time goes to one', async t => {
  const { services: { registry } } = await startService(t, { worker: 'none' })
  const address = { baseUrl: 'http://127.0.0.1:9' }
  const { id } = registry.require('Main')
  const other = await registry.add({ alias: 'Other', address, origin: 'user' })
  const outcomes = await Promise.allSettled([
    registry.update(id, { alias: 'Big' }), registry.update(other.id, { alias: 'big' })
  ])
  t.same(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const winner = registry.require('Big')
  const freed = winner.id === id ? 'Main' : 'Other'
  t.equal((await registry.add({ alias: freed, address, origin: 'user' })).alias, freed)
  await registry.update(winner.id, { alias: 'BIG' })
  await t.rejects(registry.add({ alias: 'big', address, origin: 'user' }), { code: 'server_exists' })
})

t.test('a server that an earlier version registered twice can be changed, and the name stays when one is removed', async t => {
  const { services: { registry, redis, keys } } = await startService(t, { worker: 'none' })
  const { id } = registry.require('Main')
  const record = await redis.hget(keys.key('servers'), id) ?? ''
  await redis.hset(keys.key('servers'), 'twin', record.replace(id, 'twin'))
  t.match(await registry.update('twin', { description: 'Big' }), { alias: 'Main', description: 'Big' })
  await registry.remove('twin')
  await t.rejects(registry.add({ alias: 'Main', address: { baseUrl: 'http://127.0.0.1:9' }, origin: 'user' }),
    { code: 'server_exists' })
})
