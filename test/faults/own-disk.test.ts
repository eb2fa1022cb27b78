import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { quick } from '../helper.ts'
import { startS3Server } from '../media/s3-server.ts'
import { startFleet } from './processes.ts'

t.test('a worker whose own folder is gone leaves its servers to workers that can store images', async t => {
  const s3 = await startS3Server(t)
  const fleet = await startFleet(t)
  const { look, keys, simulator } = fleet
  const folder = t.testdir({})
  const homeOf = (name: string) => join(folder, name)
  const settings = (name: string) => ({
    ...s3.settings, DATA_DIR: homeOf(name), MASTER_KEY: 'ab'.repeat(32), STORAGE_CHECK_SECONDS: '0.1'
  })
  const api = await fleet.api(settings('api'))
  const workers = { one: await fleet.worker(settings('one')), other: await fleet.worker(settings('other')) }
  const [server] = (await api.request('GET', '/api/v1/servers')).body as unknown as ReadonlyArray<{ id: string }>
  const leaseOf = async () => await look.get(keys.key('lease', server?.id ?? '')) ?? ''
  const holds = async (name: keyof typeof workers) => (await leaseOf()).includes(`"pid":${workers[name].pid},`)
  // The first worker hands the server over if it is not in its share.
  const announced = async () => (await look.hvals(keys.key('workers'))).map(text => Number(/\d+/.exec(text)?.[0]))
  while ((await announced()).filter(count => count > 8).length < 2) await sleep(50)
  while (await leaseOf() === '') await sleep(20)
  const [failing, able] = await holds('one') ? ['one', 'other'] as const : ['other', 'one'] as const

  simulator.setFaults([{ kind: 'hang' }])
  const ids = [await api.submit(quick), await api.submit(quick)]
  await api.until(ids[0] ?? '', 'processing')
  await rename(homeOf(failing), homeOf('away'))
  simulator.setFaults([])
  for (const id of ids) {
    const { status, images } = await api.until(id, 'completed', 'failed')
    t.equal(status, 'completed')
    t.equal((await fetch(`${api.url}/outputs/${images[0]?.filename}`)).status, 200)
  }
  t.ok(await holds(able))
  t.equal((await api.request('GET', '/ready')).status, 200)
})
