import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startBench, type Bench } from './client.ts'

const long = 60_000

async function touch (bench: Bench): Promise<void> {
  const socket = connect(bench.simulator.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}

t.test('a request ends an A1111 that has only opened its port, and a connection without a request does not', async t => {
  const bench = await startBench(t, { bareMilliseconds: long })
  await touch(bench)
  t.equal((await bench.get('/simulator/state')).json.startDeaths, 0, 'reading the simulator\'s state does no harm')
  await t.rejects(bench.get('/sdapi/v1/options'))
  await bench.simulator.died
  await t.rejects(touch(bench), { code: 'ECONNREFUSED' })
  t.match(bench.simulator.state(), { startDeaths: 1, crashes: 1 })
  await bench.simulator.restart({ bareMilliseconds: 0 })
  t.equal((await bench.get('/sdapi/v1/options')).status, 200)
})

t.test('a Forge that has only opened its port answers 404, and an API-only server has its routes at once', async t => {
  const forge = await startBench(t, { flavor: 'forge', bareMilliseconds: long })
  t.equal((await forge.get('/sdapi/v1/options')).status, 404)
  const bare = await startBench(t, { internalProgress: false, bareMilliseconds: long, mountMilliseconds: long })
  t.equal((await bare.get('/sdapi/v1/loras')).status, 200)
})

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`${flavor} has routes before scripts have their arguments and extensions theirs`, async t => {
    const bench = await startBench(t, { flavor, mountMilliseconds: long })
    const statuses = async (...paths: string[]) =>
      await Promise.all(paths.map(async path => (await bench.get(path)).status))
    t.same(await statuses('/sdapi/v1/options', '/sdapi/v1/script-info', '/sdapi/v1/loras', '/controlnet/model_list'),
      [200, 200, 404, 404])
    t.same(await statuses('/sdapi/v1/embeddings'), [flavor === 'forge' ? 500 : 200])
    const [title = ''] = flavor === 'forge' ? ['ControlNet'] : ['Refiner']
    const alwaysOn = await bench.txt2img({ alwayson_scripts: { [title]: { args: [true] } } })
    t.match([alwaysOn.status, alwaysOn.text], [500, /IndexError.*list assignment index out of range/])
    const selected = await bench.txt2img({ script_name: 'X/Y/Z plot', script_args: [] })
    t.match([selected.status, selected.text], [500, /TypeError.*missing 18 required positional arguments/])
    t.equal((await bench.txt2img()).status, 200)
    t.equal(bench.simulator.state().earlyWork, 3)
    const listed = async () => Object.keys((await bench.get('/openapi.json')).json.paths as object)
      .includes('/sdapi/v1/loras')
    t.equal(await listed(), false)
    await bench.simulator.restart({ mountMilliseconds: 0 })
    t.same(await statuses('/sdapi/v1/loras', '/controlnet/model_list', '/sdapi/v1/embeddings'), [200, 200, 200])
    t.equal(await listed(), true)
  })
}
