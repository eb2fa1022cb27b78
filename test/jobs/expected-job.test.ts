import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import type { ComingJob } from '../../src/jobs/coming-jobs.ts'
import { createExpectedJob } from '../../src/jobs/expected-job.ts'
import type { Job } from '../../src/jobs/job.ts'
import { prepareGeneration, type PreparableJob, type PreparedGeneration } from '../../src/jobs/prepare-generation.ts'
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

/** A job as far as its preparation asks. */
const jobOf = (id: string, { run = 1, seed = 7, requestId = 'of the request' } = {}) =>
  ({ id, run, starts: 0, submission: { requestId, parameters: { seed } } }) as unknown as Job

/** Prepares by noting the names of jobs. */
function createPreparer () {
  const names: string[] = []
  return {
    names,
    async prepare ({ id }: PreparableJob): Promise<PreparedGeneration> {
      names.push(id)
      if (id === 'faulty') throw new Error('it cannot be prepared')
      return { wanted: null, body: () => id }
    }
  }
}

t.test('an expected job finds its connection open and its request prepared, and another one gets its own', async t => {
  const { sockets, client, connected } = await startListener(t)
  const { names, prepare } = createPreparer()
  const expected = createExpectedJob({ client, prepare, leaving: new AbortController().signal })
  const first = connected()
  expected.await(jobOf('first'))
  expected.await(jobOf('second'))
  await first
  const { over, prepared } = await expected.take(jobOf('first'))
  t.equal((await over.take())?.destroyed, false)
  t.equal(prepared?.body(null), 'first')
  t.equal(sockets.length, 1)
  const second = connected()
  t.equal((await expected.take(jobOf('second'))).prepared, null)
  await second
  t.equal(sockets.length, 2, 'the first was taken')
  t.same(names, ['first'])
})

t.test('only the very submission that was expected is prepared', async t => {
  const { client } = await startListener(t)
  const { prepare } = createPreparer()
  const expected = createExpectedJob({ client, prepare, leaving: new AbortController().signal })
  for (const [what, job] of Object.entries({
    'another job': jobOf('other'),
    'edited before it began': jobOf('job', { run: 2 }),
    'another submission of the same id': jobOf('job', { requestId: 'of another request' }),
    'the same with another seed': jobOf('job', { seed: 8 })
  })) {
    expected.await(jobOf('job'))
    const { over, prepared } = await expected.take(job)
    t.equal(prepared, null, what)
    over.close()
  }
  expected.await(jobOf('faulty'))
  const { over, prepared } = await expected.take(jobOf('faulty'))
  t.equal(prepared, null, 'its fault shows when it is prepared itself')
  over.close()
})

t.test('any job gets the connection that was opened before it was known which one comes', async t => {
  const { sockets, client, connected } = await startListener(t)
  const { names, prepare } = createPreparer()
  const expected = createExpectedJob({ client, prepare, leaving: new AbortController().signal })
  for (const known of [null, jobOf('job')]) {
    const coming = connected()
    expected.await(null)
    expected.await(known)
    await coming
    const { over, prepared } = await expected.take(jobOf('job'))
    t.equal((await over.take())?.destroyed, false)
    t.equal(prepared?.body(null), known?.id)
  }
  t.equal(sockets.length, 2)
  t.same(names, ['job'])
})

t.test('a connection that nothing takes is closed', async t => {
  const { client, connected } = await startListener(t)
  const leaving = new AbortController()
  const { prepare } = createPreparer()
  const expected = createExpectedJob({ client, prepare, leaving: leaving.signal })

  await t.test('when the job does not come', async () => {
    const coming = connected()
    expected.await(jobOf('job'))
    const [socket] = await coming
    await once(socket, 'close')
  })
  await t.test('when the process leaves the server, which then gets no further one', async t => {
    const coming = connected()
    expected.await(jobOf('job'))
    const [socket] = await coming
    const closed = once(socket, 'close')
    leaving.abort()
    await closed
    const further = connected().then(() => 'connected')
    expected.await(jobOf('job'))
    t.equal(await Promise.race([further, new Promise(resolve => { setImmediate(resolve, 'none') })]), 'none')
  })
})

t.test('a submission announces its job to the server that probably gets it, which generates it once', async t => {
  const service = await startService(t, { simulator: { flavor: 'forge', scripts: ['FreeU'] } })
  await service.until(await service.submit(quick), 'completed')
  const { coming, media, store, registry } = service.services
  const announced: Array<{ readonly serverId: string, readonly job: ComingJob }> = []
  t.teardown(coming.onComing((serverId, job) => { announced.push({ serverId, job }) }))
  const [picture] = (await service.request('POST', '/sdapi/v1/txt2img', quick)).body.images as string[]
  announced.length = 0
  const bodies = [
    { ...quick, seed: -1, cfg_scale: 7.5 },
    { ...quick, seed: 5, init_images: [picture], denoising_strength: 0.5 },
    { ...quick, seed: '18446744073709551615', alwayson_scripts: { FreeU: { args: [true, 1.5, 1, 'w'] } } }
  ]
  for (const parameters of bodies) {
    const body = JSON.stringify({ target_server_alias: 'Main', generation_params: parameters })
      .replace('7.5', '7.0').replace('1.5', '1.0').replace('"18446744073709551615"', '18446744073709551615')
    const answer = await service.request('POST', '/api/v2/generate', body)
    t.equal(answer.status, 202, JSON.stringify(answer.body))
    const id = String(answer.body.job_id)
    await service.until(id, 'completed', 'failed')
    const last = announced.at(-1)
    t.match(last, { serverId: registry.list()[0]?.id, job: { id } })
    t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
    // The record went through JSON.
    const sources = { media, checkCompatibility: async () => null, traits: () => null }
    const record = { ...await store.get(id), starts: 0 }
    const bodyOf = async (job: PreparableJob) => (await prepareGeneration(job, sources)).body(null)
    t.equal(await bodyOf({ ...record, ...last?.job }), await bodyOf(record), 'the request is that of the record')
  }
  t.equal(announced.length, bodies.length)
})
