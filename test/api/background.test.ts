import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

/** Jobs in the background yield to all others. */
const service = await startService(t)
const { request, submit, until, job } = service
const setQueues = async (enabled: boolean) => await request('PUT', '/api/v1/settings/queue-processing', { enabled })
const change = async (id: string, body: object, headers = {}) => await request('PATCH', `/api/v2/jobs/${id}`, body, headers)
const act = async (body: object) => await request('POST', '/api/v2/jobs/actions', body)
const queue = async (query = '') => (await request('GET', `/api/v2/queue${query}`)).body
const idsOf = (jobs: unknown) => (jobs as JsonBody[]).map(({ id }) => id)
const line = async (query = '') => idsOf((await queue(query)).waiting)
const bulkOf = async (quantity: number, fields: object = {}, headers = {}) => {
  const { status, body } = await request('POST', '/api/v2/generate/bulk',
    { target_server_alias: 'auto', bulk_quantity: quantity, background: true, generation_params: quick, ...fields }, headers)
  t.equal(status, 202, JSON.stringify(body))
  return idsOf(body.jobs) as string[]
}
const cancelAll = async () => { await act({ action: 'cancel', filter: { status: 'pending' } }) }

t.beforeEach(async () => { await setQueues(false) })
t.afterEach(async () => {
  await cancelAll()
  await setQueues(true)
})

t.test('a small job between 200 in the background runs next', async t => {
  const key = await keyHeaders(service)
  await bulkOf(100, { generation_params: { ...quick, steps: 4 } }, key.headers)
  await bulkOf(100, { generation_params: { ...quick, steps: 4 } }, key.headers)
  const isDone = async () => Number((await request('GET', '/api/v2/jobs?background=true&status=completed')).body.total) >= 3
  await setQueues(true)
  while (!await isDone()) await until((await line())[0] as string, 'completed')
  const { status, body } = await request('POST', '/api/v2/generate',
    { target_server_alias: 'auto', generation_params: { ...quick, prompt: 'small' } }, key.headers)
  t.equal(status, 202)
  t.ok(Number(body.queue_position) <= 3, `number ${String(body.queue_position)}`)
  const small = await until(String(body.job_id), 'completed')
  await setQueues(false)
  const { jobs } = (await request('GET', '/api/v2/jobs?background=true&limit=500')).body
  const later = (jobs as JsonBody[]).map(each => each.started_timestamp).filter(Boolean)
    .filter(at => String(at) > String(small.creation_timestamp) && String(at) < String(small.started_timestamp))
  t.equal(later.length, 0, 'nothing of the background began after it had arrived')
})

t.test('the background waits behind later jobs, whatever their priority, and says so', async t => {
  const [first = '', second = ''] = await bulkOf(2)
  const urgent = await submit(quick, { background: true, priority: 10 })
  const one = await submit(quick)
  const low = await submit(quick, { priority: 1 })
  t.strictSame((await line()).slice(0, 2), [one, low])
  t.strictSame((await line())[2], urgent, 'priority counts within the lane')
  t.match(await job(first), { background: true, priority: 5 })
  t.match(await job(one), { background: false })
  const rows = (await queue()).waiting as JsonBody[]
  t.match(rows.find(({ id }) => id === one), { background: false })
  t.match(rows.find(({ id }) => id === second), { background: true })
  await setQueues(true)
  await Promise.all([first, second, urgent, one, low].map(async id => await until(id, 'completed')))
  const order = await Promise.all([one, low, urgent, first].map(async id => String((await job(id)).started_timestamp)))
  t.strictSame(order, order.toSorted())
})

t.test('jobs go into the background and come out of it, alone and many at once', async t => {
  const [one, two, three] = [await submit(quick), await submit(quick), await submit(quick)]
  const { status, body } = await change(one, { background: true })
  t.equal(status, 200, JSON.stringify(body))
  t.match(body.job, { background: true, queue_position: 3 })
  t.strictSame(await line(), [two, three, one])
  t.strictSame(await line('?background=true'), [one])
  t.strictSame(await line('?background=false'), [two, three])
  t.match(await queue('?background=false'), { total_waiting: 2 })
  for (const [query, ids] of [['background=true', [one]], ['background=false', [three, two]]] as const) {
    const found = (await request('GET', `/api/v2/jobs?status=pending&${query}`)).body
    t.strictSame(idsOf(found.jobs), ids)
    t.equal(found.total, ids.length)
    const searched = await request('GET', `/api/v2/jobs?status=pending&search=${quick.prompt.slice(0, 4)}&${query}`)
    t.match(searched.body, { total: ids.length })
  }
  t.match(await act({ action: 'background', filter: { status: 'pending', background: false } }),
    { status: 200, body: { done: 2, refused_count: 0 } })
  t.strictSame(await line(), [one, two, three])
  t.match(await act({ action: 'foreground', ids: [three] }),
    { body: { done: 1, message: /out of the background/ } })
  t.strictSame(await line(), [three, one, two])
  t.match((await change(two, { place: 'first' })).body, { job: { background: true } }, 'a place is one of its lane')
  t.strictSame(await line(), [three, two, one])
  const across = await change(two, { before: three })
  t.match(across, { status: 400, body: { details: { field: 'before' }, message: /background/ } })
  t.strictSame((await change(one, { before: two })).status, 200)
  t.strictSame(await line(), [three, one, two])
  t.match(await change(two, { background: false, before: three }),
    { status: 200, body: { job: { background: false } } })
  t.strictSame(await line(), [two, three, one])
  await request('POST', `/api/v2/jobs/${one}/run-now`)
  t.match(await job(one), { background: false }, 'run now takes it out')
  t.strictSame(await line(), [one, two, three])
  t.equal((await change(one, { background: 'yes' })).status, 400)
})

t.test('an edited, moved, cancelled or retried job stays in the background', async t => {
  const [one = ''] = await bulkOf(1)
  const other = await submit(quick)
  t.equal((await change(one, { prompt: 'another', priority: 9, server: 'Main' })).status, 200)
  t.match(await job(one), { background: true, priority: 9, target_server_alias: 'Main' })
  t.strictSame(await line(), [other, one])
  await request('POST', `/api/v2/jobs/${one}/cancel`)
  await request('POST', `/api/v2/jobs/${one}/retry`)
  t.match(await job(one), { background: true, status: 'pending' })
  t.strictSame(await line(), [other, one])
  t.match((await request('GET', '/api/v2/jobs?background=true&status=pending')).body, { total: 1, jobs: [{ id: one }] })
  await setQueues(true)
  await until(one, 'completed')
  t.match(await job(one), { background: true })
  await setQueues(false)
  t.equal((await change(one, { background: false })).status, 400, 'it has finished')
  await request('DELETE', `/api/v2/jobs/${one}`)
  t.notOk(idsOf((await request('GET', '/api/v2/jobs?background=true&limit=1000')).body.jobs).includes(one))
})

t.test('a waiting job says to how many others it yields, and a dry run says so before', async t => {
  await setQueues(true)
  await until(await submit(quick), 'completed')
  service.simulator.setFaults([{ kind: 'hang', prompt: 'stays', sticky: true }])
  const running = await submit({ ...quick, prompt: 'stays' })
  await until(running, 'processing')
  const [one = ''] = await bulkOf(1)
  await submit(quick)
  await submit(quick)
  // A forecast of many jobs, such as those of a test before, serves for a second.
  while ((await job(one)).eta_seconds === null) await sleep(50)
  t.match(await job(one), { queue_position: 3, waiting_for: 'background: yields to 2 other jobs', eta_seconds: Number })
  const asked = { dry_run: true, background: true, generation_params: quick }
  t.match((await request('POST', '/api/v2/generate', asked)).body,
    { queue_position: 4, waiting_for: 'background: yields to 2 other jobs' })
  t.match((await request('POST', '/api/v2/generate', { ...asked, background: false })).body,
    { queue_position: 3, waiting_for: '2 jobs ahead of it' })
  await request('POST', `/api/v2/jobs/${running}/cancel`)
  service.simulator.setFaults([])
})

t.test('forms and v1 take it too, and what is no boolean is refused', async t => {
  const form = new FormData()
  form.set('target_server_alias', 'auto')
  form.set('prompt', 'of a form')
  form.set('background', 'true')
  const answer = await fetch(`${service.url}/api/v1/generate`, { method: 'POST', body: form })
  const accepted = await answer.json() as JsonBody
  t.equal(answer.status, 202, JSON.stringify(accepted))
  t.match(await job(String(accepted.job_id)), { background: true })
  const wrong = await request('POST', '/api/v2/generate', { prompt: 'x', background: 'perhaps' })
  t.match(wrong, { status: 400, body: { details: { field: 'background' } } })
  t.equal((await request('GET', '/api/v2/jobs?background=perhaps')).status, 400)
})

t.test('a key can choose the background for its jobs, of any interface, unless a request says otherwise', async t => {
  const made = await request('POST', '/api/v1/api-keys', { name: 'batch renders', background: true })
  t.match(made, { status: 201, body: { api_key: { background: true } } })
  const { id, key, secret } = made.body.api_key as Record<'id' | 'key' | 'secret', string>
  const headers = { 'X-API-Key': key, 'X-API-Secret': secret }
  const laneOf = async (path: string, body: object) => {
    const { body: { total_jobs: count = 1 } } = await request('POST', path, body, headers)
    const { jobs } = (await request('GET', `/api/v2/jobs?limit=${String(count)}`, undefined, headers)).body
    return (jobs as JsonBody[]).map(({ background }) => background)
  }
  const asked = { generation_params: quick }
  t.strictSame(await laneOf('/api/v2/generate', asked), [true])
  t.strictSame(await laneOf('/api/v2/generate', { ...asked, background: false }), [false])
  t.strictSame(await laneOf('/api/v2/generate/bulk', { ...asked, bulk_quantity: 2 }), [true, true])
  t.strictSame(await laneOf('/sdapi/v1/txt2img?async=1', quick), [true])
  t.match((await request('GET', '/ui/session', undefined, headers)).body, { limits: { background: true } })

  t.match(await request('PUT', `/api/v1/api-keys/${id}`, { name: 'renders' }), { body: { api_key: { background: true } } })
  t.match(await request('PUT', `/api/v1/api-keys/${id}`, { background: false }), { body: { api_key: { background: false } } })
  t.strictSame(await laneOf('/api/v2/generate', asked), [false])
  t.match(await job(await submit(quick)), { background: false }, 'callers without a key are not concerned')
})
