import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import { createExpectedConnection } from '../../src/jobs/expected-connection.ts'
import { quick, startService } from '../helper.ts'

/** A server that only counts its connections. */
async function startListener (t: Test) {
  const sockets: Socket[] = []
  const server = createServer(socket => { sockets.push(socket.resume()) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const client = createA1111Client({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
  t.teardown(client.close)
  const connected = async () => await once(server, 'connection') as [Socket]
  return { sockets, client, connected }
}

t.test('an expected job finds its connection open, and another one gets its own', async t => {
  const { sockets, client, connected } = await startListener(t)
  const leaving = new AbortController()
  const expected = createExpectedConnection(client, leaving.signal)
  const first = connected()
  expected.open()
  expected.open()
  await first
  const over = expected.take()
  t.equal((await over.take())?.destroyed, false)
  t.equal(sockets.length, 1)
  const second = connected()
  expected.take()
  await second
  t.equal(sockets.length, 2, 'the first was taken')
})

t.test('a connection that nothing takes is closed', async t => {
  const { client, connected } = await startListener(t)
  const leaving = new AbortController()
  const expected = createExpectedConnection(client, leaving.signal)

  await t.test('when the job does not come', async () => {
    const coming = connected()
    expected.open()
    const [socket] = await coming
    await once(socket, 'close')
  })
  await t.test('when the process leaves the server, which then gets no further one', async t => {
    const coming = connected()
    expected.open()
    const [socket] = await coming
    const closed = once(socket, 'close')
    leaving.abort()
    await closed
    const further = connected().then(() => 'connected')
    expected.open()
    t.equal(await Promise.race([further, new Promise(resolve => { setImmediate(resolve, 'none') })]), 'none')
  })
})

t.test('a submission announces its job to the server that probably gets it, which generates it once', async t => {
  const service = await startService(t)
  await service.until(await service.submit(quick), 'completed')
  const { coming } = service.services
  const announced: string[] = []
  t.teardown(coming.onComing(serverId => { announced.push(serverId) }))
  const id = await service.submit(quick)
  await service.until(id, 'completed')
  t.same(announced, service.services.registry.list().map(server => server.id))
  t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
})
