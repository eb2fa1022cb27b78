import { on } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { refreshServerLists } from '../../src/models/run-download.ts'
import { createExclusiveCalls } from '../../src/servers/exclusive-calls.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startWorker } from '../../src/main/worker.ts'
import { quick, startService } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { call } from './client.ts'
import { watchServer } from './watched-server.ts'

const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
const enlarge = { image: png, upscaling_resize: 2, upscaler_1: 'Lanczos' }

/** A watched server, a process that serves it, and a process that has only the routes. */
const simulator = await startSimulator({ stepMilliseconds: 5, loadMilliseconds: 0 })
t.teardown(simulator.close)
const redis = await startTestRedis()
t.teardown(redis.stop)
const watched = await watchServer(t, simulator.url)
const settings = { MASTER_KEY: '5'.repeat(64) }
const serving = await startService(t, { redis, settings, servers: { Main: watched.url } })
const routes = await startService(t, { redis, settings, servers: {}, worker: 'none' })

t.test('calls that are not jobs alternate with generations, also from another process', async t => {
  const jobs = await Promise.all(Array.from({ length: 4 }, () => serving.submit({ ...quick, steps: 4 })))
  const exclusiveCalls = await createExclusiveCalls(routes.services)
  t.teardown(exclusiveCalls.close)
  const { id: serverId } = routes.services.registry.require('Main')
  const models = [{ files: [{ root: '/models' }], reported: [{ serverId }] }]
  const catalogue = { state: async () => ({ models }) }
  const reloading = refreshServerLists('lora', '/models', { ...routes.services, exclusiveCalls, catalogue }, new AbortController().signal)
  const answers = await Promise.all([
    ...Array.from({ length: 4 }, () => call(routes, 'POST', '/sdapi/v1/extra-single-image', enlarge)),
    call(routes, 'POST', '/sdapi/v1/extra-batch-images', { ...enlarge, imageList: [{ data: png, name: 'a.png' }] }),
    call(serving, 'POST', '/sdapi/v1/interrogate', { image: png, model: 'clip' }),
    call(serving, 'POST', '/controlnet/detect', { controlnet_module: 'none', controlnet_input_images: [png] }),
    call(routes, 'POST', '/sdapi/v1/refresh-checkpoints', {})
  ])
  t.strictSame(answers.map(({ status }) => status), answers.map(() => 200))
  for (const job of jobs) t.equal((await serving.until(job, 'completed', 'failed')).status, 'completed')
  await reloading
  t.ok(watched.calls.includes('/sdapi/v1/refresh-loras'), 'also to read a folder that something was downloaded into')
  t.equal(watched.calls.length, 13)
  t.equal(watched.most(), 1, 'never two at once')
})

t.test('a call whose client hangs up while it waits uses no slot', async t => {
  const before = watched.calls.length
  watched.hold()
  const job = await serving.submit(quick)
  await watched.came(before + 1)
  const left = new AbortController()
  const messages = on(serving.services.subscriber, 'message')
  const waiting = fetch(`${routes.url}/sdapi/v1/extra-single-image`, {
    method: 'POST', signal: left.signal, headers: { 'content-type': 'application/json' }, body: JSON.stringify(enlarge)
  })
  for await (const [channel] of messages) if (channel === serving.services.keys.channel('turns')) break
  left.abort()
  await t.rejects(waiting)
  watched.release()
  await serving.until(job, 'completed')
  t.equal((await call(routes, 'POST', '/sdapi/v1/extra-single-image', enlarge)).status, 200)
  t.equal(watched.calls.length, before + 2)
})

t.test('a process that takes a server over waits for a call that still runs there', async t => {
  const before = watched.calls.length
  watched.hold()
  const enlarging = call(routes, 'POST', '/sdapi/v1/extra-single-image', enlarge)
  await watched.came(before + 1)
  await serving.worker?.close()
  const job = await routes.submit(quick)
  const next = await startWorker(routes.services, { whileUp: 1000, whileDown: 50, inventory: 1000 })
  t.teardown(next.close)
  const { id: serverId } = routes.services.registry.require('Main')
  // There is no notice for this.
  while (!next.serverWorkers.serves(serverId)) await sleep(10)
  watched.release()
  t.equal((await enlarging).status, 200)
  t.equal((await routes.until(job, 'completed')).status, 'completed')
  t.equal(watched.calls.at(-1), '/sdapi/v1/txt2img')
  t.equal(watched.most(), 1)
})

t.test('a call to a server that does not answer fails soon', async t => {
  const alone = await startService(t, { worker: 'none', servers: { Gone: 'http://127.0.0.1:1' } })
  const { status, json } = await call(alone, 'POST', '/sdapi/v1/extra-single-image', enlarge)
  t.equal(status, 502)
  t.match(json, { error: 'HTTPException', detail: /No server answers/ })
})
