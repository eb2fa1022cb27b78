import t from 'tap'
import { startService } from '../helper.ts'
import { asking, failNext, jsonOf, listsRead, opened, running, serverGone, type Fields, type Generation } from './http.ts'

/** Clients of the Job Tracker extension: A1111's own answer, an id in `X-Job-ID`, and two routes that list the jobs. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service)
const payload = (more: Fields = {}) => ({ prompt: 'a lighthouse', steps: 3, width: 64, height: 64, ...more })

async function tracked (id: string | null) {
  const response = await ask('GET', `/sdapi/v1/job/${id ?? ''}`)
  return { status: response.status, job: await jsonOf(response) }
}

async function jobs (query = ''): Promise<Fields[]> {
  return await jsonOf<Fields[]>(ask('GET', `/sdapi/v1/jobs${query}`))
}

t.test('the id comes with the answer, and the job has the same images', async t => {
  const response = await ask('POST', '/sdapi/v1/txt2img', { json: payload() })
  t.equal(response.status, 200)
  const id = response.headers.get('x-job-id')
  t.match(id, /^[A-Za-z0-9]{8}$/)
  const { images } = await jsonOf<Generation>(response)
  t.strictSame(await opened(images[0]), { format: 'png', width: 64, height: 64 })
  const { status, job } = await tracked(id)
  t.equal(status, 200)
  t.strictSame(Object.keys(job).sort(), ['id', 'images', 'prompt', 'status', 'timestamp'])
  t.match(job, { id, prompt: 'a lighthouse', status: 'Completed', images, timestamp: Number })
})

t.test('the list filters by address, state, time and number, newest first', async t => {
  await ask('POST', '/sdapi/v1/txt2img', { json: payload({ prompt: 'a mill' }) })
  t.match((await jobs('?limit=1')), [{ prompt: 'a mill', ip: '127.0.0.1', status: 'Completed', output_paths: [String] }])
  t.equal((await jobs('?limit=0')).length, 0)
  t.equal((await jobs('?status=completed')).length, 2, 'whatever the case')
  t.equal((await jobs('?status=nonsense')).length, 0)
  t.equal((await jobs('?ip=203.0.113.1')).length, 0)
  t.equal((await jobs(`?after=${Math.floor(Date.now() / 1000) + 5}`)).length, 0)
  t.equal((await ask('GET', '/sdapi/v1/jobs?limit=x')).status, 422)
})

t.test('a client that lost its connection finds the job by its address', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 20, prompt: 'a long one' }])
  const controller = new AbortController()
  const long = ask('POST', '/sdapi/v1/txt2img', { json: payload({ prompt: 'a long one', steps: 20 }), signal: controller.signal })
  await running(service, long.then(async response => await response.arrayBuffer()))
  const [job] = await jobs('?ip=127.0.0.1&status=processing')
  t.match(job, { prompt: 'a long one' })
  controller.abort()
  await long.catch(() => undefined)
  for (;;) {
    const { job: now } = await tracked(String(job?.id))
    if (now.status === 'Completed') break
    t.equal(now.status, 'Processing', 'it goes on without its client')
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
})

t.test('a failed job has its error in both places, and an unknown one is 404', async t => {
  failNext(service)
  const response = await ask('POST', '/sdapi/v1/txt2img', { json: payload({ prompt: 'a storm' }) })
  t.equal(response.status, 500)
  t.match(await jsonOf(response), { error: String })
  t.match(await tracked(response.headers.get('x-job-id')), { job: { status: 'Failed', images: [] } })
  t.match(await jobs('?limit=1'), [{ prompt: 'a storm', status: 'Failed' }])
  t.strictSame(await tracked('nowhere1'), { status: 404, job: { error: 'Job not found' } })
})

t.test('jobs that wait while the server is away are Pending', async t => {
  await serverGone(service)
  const response = await ask('POST', '/sdapi/v1/txt2img?async=1', { json: payload() })
  t.match((await tracked(response.headers.get('x-job-id'))).job, { status: 'Pending', images: [] })
})
