import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { quick, startService } from '../helper.ts'

const shared = await startService(t)
/** Its generations last long enough to be cancelled. */
const slow = await startService(t, { simulator: { stepMilliseconds: 40 } })

t.test('a submission returns an id, and its image is kept', async t => {
  const service = shared
  const accepted = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: { ...quick, seed: 0 }
  })
  t.equal(accepted.status, 202)
  t.match(accepted.body, { success: true, queue_position: 1, target_server_alias: 'Main', seed: 0 })
  t.equal(accepted.headers.get('location'), `/api/v2/jobs/${String(accepted.body.id)}`)

  const job = await service.until(String(accepted.body.id), 'completed')
  t.equal(job.images.length, 1)
  const [image] = job.images
  t.match(image, { seed: 0, width: 64, height: 64, role: 'image', filename: new RegExp(`^${job.id.slice(0, 8)}_.*_0\\.png$`) })

  const response = await fetch(service.url + (image?.url ?? ''))
  t.equal(response.headers.get('content-type'), 'image/png')
  const served = Buffer.from(await response.arrayBuffer())
  t.ok(served.equals(await readFile(join(service.dataDirectory, 'outputs', image?.filename ?? ''))))
  t.ok(served.includes('a lighthouse'), 'the parameters stand inside the picture')
  t.equal(service.simulator.state().generations.length, 1, 'it was generated once')
})

t.test('jobs of one server run one after another, the earlier the higher their priority, and then by arrival', async t => {
  const service = await startService(t, { worker: 'none' })
  const order: Array<[string, number]> = [['a', 5], ['b', 5], ['c', 10], ['d', 1], ['e', 10]]
  const ids: string[] = []
  for (const [prompt, priority] of order) ids.push(await service.submit({ ...quick, prompt }, { priority }))
  const positions = await Promise.all(ids.map(async id => (await service.job(id)).queue_position))
  t.same(positions, [2, 4, 1, 5, 3], 'priority 10 gets twice as many turns as 5, and 1 a quarter')
  t.same(Object.keys(service.services.redis.scriptsSet), [], 'no pipeline of a request copies scripts of BullMQ')

  const { startWorker } = await import('../../src/main/worker.ts')
  const worker = await startWorker(service.services)
  t.teardown(worker.close)
  for (const id of ids) await service.until(id, 'completed')
  const { generations, maxInFlight } = service.simulator.state()
  t.same(generations.map(({ prompt }) => prompt), ['c', 'a', 'e', 'b', 'd'])
  t.equal(maxInFlight, 1, 'the server never had two at once')
})

t.test('a job of low priority does not wait for all later ones of high priority', async t => {
  const service = await startService(t, { worker: 'none' })
  const low = await service.submit(quick, { priority: 1 })
  for (let count = 1; count <= 20; count++) await service.submit(quick, { priority: 10 })
  const position = Number((await service.job(low)).queue_position)
  t.ok(position > 1 && position <= 9, `8 turns of priority 10 for one of priority 1: ${position}`)
})

t.test('a cancelled waiting job leaves the queue and never reaches the server', async t => {
  const service = slow
  const first = await service.submit({ ...quick, steps: 10 })
  const second = await service.submit(quick)
  const third = await service.submit(quick)
  for (const id of [second, third]) {
    const { status, body } = await service.request('POST', `/api/v2/jobs/${id}/cancel`)
    t.equal(status, 200)
    t.match(body, { job: { status: 'cancelled', queue_position: null } })
  }
  await service.until(first, 'completed')
  const again = await service.request('POST', `/api/v2/jobs/${second}/cancel`)
  t.equal(again.status, 400)
  t.match(again.body, { error: 'job_operation_invalid', details: { current_status: 'cancelled' } })
  const fourth = await service.submit(quick)
  await service.until(fourth, 'completed')
  t.equal(service.simulator.state().generations.length, 2)
})

t.test('a cancelled running job stops at the server, keeps the finished images, and stays cancelled', async t => {
  const service = slow
  const before = service.simulator.state()
  const id = await service.submit({ ...quick, steps: 100 })
  await service.until(id, 'processing')
  const { status } = await service.request('POST', `/api/v2/jobs/${id}/cancel`)
  t.equal(status, 200)
  const job = await service.until(id, 'cancelled', 'completed', 'failed')
  t.equal(job.status, 'cancelled')
  const { generations, interrupts } = service.simulator.state()
  t.match(generations.slice(before.generations.length), [{ taskId: id, interrupted: true }])
  t.ok(interrupts > before.interrupts)
  const next = await service.submit(quick)
  t.equal((await service.until(next, 'completed')).status, 'completed')
  t.equal((await service.job(id)).status, 'cancelled')
})

t.test('the queue of a server that is down waits and costs no attempt; it continues when the server is back', async t => {
  const service = shared
  await service.simulator.crash(400)
  const down = service.submit(quick)
  const job = await service.until(await down, 'completed', 'failed')
  t.equal(job.status, 'completed')
  t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === job.id).length, 1)
})

t.test('input images are kept in the media store and never enter Redis', async t => {
  const service = shared
  const source = await service.until(await service.submit(quick), 'completed')
  const png = Buffer.from(await (await fetch(service.url + (source.images[0]?.url ?? ''))).arrayBuffer()).toString('base64')
  const id = await service.submit({ ...quick, init_images: [png], denoising_strength: 0.5 })
  const job = await service.until(id, 'completed', 'failed')
  t.equal(job.status, 'completed')
  t.match(service.simulator.state().generations.at(-1), { mode: 'img2img', taskId: id })
  const record = await service.services.redis.hgetall(service.services.keys.key('job', id))
  t.notOk(JSON.stringify(record).includes(png.slice(100, 200)))
  t.equal((await readdir(join(service.dataDirectory, 'media', 'inputs'))).filter(name => name.length === 2).length, 1)
  t.equal((await service.request('DELETE', `/api/v2/jobs/${id}`)).status, 200)
  t.equal((await service.request('GET', `/api/v2/jobs/${id}`)).status, 404)
})
