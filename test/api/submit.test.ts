import sharp from 'sharp'
import t from 'tap'
import { quick, startService, type Answer, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t)
const idle = await startService(t, { worker: 'none' })
await idle.request('POST', '/api/v1/servers/Main/test')

const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#36a' } }).png().toBuffer()
const base64 = image.toString('base64')

async function post (body: object, headers: Record<string, string> = {}, path = '/api/v2/generate'): Promise<Answer> {
  return await idle.request('POST', path, body, headers)
}
const withParameters = (parameters: object, more: object = {}) =>
  ({ target_server_alias: 'Main', generation_params: parameters, ...more })

async function postForm (path: string, fill: (form: FormData) => void, to = service): Promise<Omit<Answer, 'headers'>> {
  const form = new FormData()
  fill(form)
  const answer = await fetch(to.url + path, { method: 'POST', body: form })
  return { status: answer.status, body: await answer.json() as JsonBody }
}
const file = () => new Blob([new Uint8Array(image)], { type: 'image/png' })

t.test('the answer contains the job\'s position, server and parameters', async t => {
  const { status, body, headers } = await post(withParameters({ ...quick, seed: -1, width: 70 }, { priority: 10 }))
  t.equal(status, 202)
  const id = String(body.id)
  t.match(body, {
    priority: 10,
    status: 'pending',
    queue_position: 1,
    warnings: [{ code: 'size_rounded', field: 'generation_params.width' }],
    links: { self: `/api/v2/jobs/${id}`, status: `/api/v2/jobs/${id}/status`, cancel: `/api/v2/jobs/${id}/cancel` }
  })
  t.ok(Number.isSafeInteger(body.seed) && Number(body.seed) >= 0, 'the seed is drawn at submission')
  t.equal(headers.get('location'), `/api/v2/jobs/${id}`)
  t.equal((await idle.job(id)).queue_position, 1)
})

t.test('init images and masks can be base64, data URLs or files', async t => {
  const parameters = { ...quick, denoising_strength: 0.5 }
  const answers = [
    await service.request('POST', '/api/v2/generate', withParameters({ ...parameters, init_images: [base64], mask: base64 })),
    await service.request('POST', '/api/v2/generate', withParameters({
      ...parameters, init_images: [`data:image/png;base64,${base64}`], mask: `data:image/png;base64,${base64}`
    })),
    await postForm('/api/v2/generate', form => {
      form.append('target_server_alias', 'Main')
      form.append('generation_params', JSON.stringify(parameters))
      form.append('init_images', file(), 'a.png')
      form.append('mask', file(), 'mask.png')
    }),
    await postForm('/api/v1/generate', form => {
      form.append('target_server_alias', 'default')
      form.append('priority', '7')
      for (const [name, value] of Object.entries(parameters)) form.append(name, String(value))
      form.append('init_images', file(), 'a.png')
      form.append('mask', file(), 'mask.png')
    })
  ]
  for (const { status, body } of answers) {
    t.equal(status, 202, JSON.stringify(body))
    const job = await service.until(String(body.id), 'completed', 'failed')
    t.equal(job.status, 'completed')
    const { init_images: images, mask } = job.generation_params as { init_images: JsonBody[], mask: JsonBody }
    t.match([images[0], mask], [{ $media: /\.png$/ }, { $media: /\.png$/ }], 'kept beside the record')
    const kept = await fetch(`${service.url}/api/v2/jobs/${job.id}/inputs/${images[0]?.$media}`)
    t.match(Object.fromEntries(kept.headers), { 'content-type': 'image/png', 'cache-control': /private, .*immutable/ })
    t.ok(image.equals(Buffer.from(await kept.arrayBuffer())), 'clients with the right to see the job get it back')
    t.match(service.simulator.state().generations.find(({ taskId }) => taskId === job.id), { mode: 'img2img' })
  }
  t.equal(answers[3]?.body.priority, 7, 'numbers of forms are read')
})

t.test('a form is checked like any other body, with its own names', async t => {
  const cases: Array<[fields: Record<string, string>, code: string, field: string]> = [
    [{ target_server_alias: 'Main', prompt: 'x', steps: '0' }, 'invalid_field_value', 'steps'],
    [{ target_server_alias: 'Main', generation_params: '{"steps": 0}' }, 'invalid_field_value', 'generation_params.steps'],
    [{ target_server_alias: 'Main', prompt: 'x', priority: '11' }, 'invalid_field_value', 'priority'],
    [{ target_server_alias: 'Main' }, 'missing_required_field', 'generation_params']
  ]
  for (const [fields, error, field] of cases) {
    const { status, body } = await postForm('/api/v2/generate', form => {
      for (const [name, value] of Object.entries(fields)) form.append(name, value)
    }, idle)
    t.match({ status, ...body }, { status: 400, error, details: { field } }, JSON.stringify(fields))
  }
})

t.test('errors come before anything is queued, by field, with the most similar names', async t => {
  const before = await idle.request('GET', '/api/v2/jobs?limit=1')
  const cases: Array<[body: object, status: number, error: string, details: object]> = [
    [{}, 400, 'missing_required_field', { field: 'generation_params' }],
    [{ target_server_alias: 'Main' }, 400, 'missing_required_field', { field: 'generation_params' }],
    [withParameters({}), 400, 'invalid_field_value', { field: 'generation_params' }],
    [{ ...withParameters(quick), generation_params: 'x' }, 400, 'invalid_field_value', { field: 'generation_params' }],
    [withParameters(quick, { target_server_alias: 'Mian' }), 404, 'server_not_found', { field: 'target_server_alias', nearest: ['Main'] }],
    [withParameters({ ...quick, steps: 0 }), 400, 'invalid_field_value', { field: 'generation_params.steps' }],
    [withParameters({ ...quick, steps: '0' }), 400, 'invalid_field_value', { field: 'generation_params.steps' }],
    [withParameters({ ...quick, width: 0, height: 'x' }), 400, 'invalid_field_value', { field: 'generation_params.width' }],
    [withParameters({ ...quick, init_images: ['http://127.0.0.1/x.png'] }), 400, 'invalid_field_value', { field: 'generation_params.init_images.0' }],
    [withParameters(quick, { priority: 0 }), 400, 'invalid_field_value', { field: 'priority' }],
    [withParameters(quick, { priority: '5' }), 400, 'invalid_field_value', { field: 'priority' }],
    [withParameters({ ...quick, checkpoint_name: 'dreamscap-v8' }), 422, 'checkpoint_not_found',
      { field: 'generation_params.checkpoint_name', nearest: [/^dreamscape-v8/] }],
    [withParameters({ ...quick, sampler_name: 'Eular a' }), 422, 'sampler_not_found',
      { field: 'generation_params.sampler_name', nearest: ['Euler a'] }],
    [withParameters({ ...quick, prompt: '<lora:nothing-like-it:1>' }), 422, 'model_not_found', { field: 'generation_params.prompt' }],
    [{ target_server_alias: 'Main', generation_info_raw: 'x\nSteps: 900, Sampler: Eular a, Seed: 1' }, 422, 'sampler_not_found',
      { field: 'generation_info_raw' }]
  ]
  for (const [body, status, error, details] of cases) {
    const expected = { success: false, error, message: String, details: { code: error, ...details } }
    t.match(await post(body), { status, body: expected }, JSON.stringify(body).slice(0, 120))
  }
  for (const steps of [0, '0']) {
    const { body } = await post(withParameters({ ...quick, steps }))
    t.match(body.message, /^generation_params\.steps /, 'the same words from each check')
  }
  const after = await idle.request('GET', '/api/v2/jobs?limit=1')
  t.equal(after.body.total, before.body.total)
  t.match(await post(withParameters({ ...quick, checkpoint_name: 'nothing like it' }, { on_missing: 'ignore' })), {
    status: 202, body: { warnings: [{ code: 'checkpoint_not_found', field: 'generation_params.checkpoint_name' }] }
  })
})

t.test('a prompt is enough, and parameters can be at the top, in generation_params or in both', async t => {
  const flat = { steps: 2, width: 64, height: 64 }
  const jobOf = async ({ body }: Pick<Answer, 'body'>) => (await idle.job(String(body.id))).generation_params
  for (const server of [undefined, null, '', 'auto', ' AUTO ', 'default']) {
    const answer = await post({ prompt: 'a lighthouse', ...server === undefined ? {} : { target_server_alias: server } })
    t.match(answer, { status: 202, body: { warnings: [] } }, `server ${server}`)
    t.match(await jobOf(answer), { prompt: 'a lighthouse', steps: 20 })
  }
  for (const body of [
    { prompt: 'x', ...flat }, { prompt: 'x', generation_params: flat }, { ...flat, generation_params: { prompt: 'x' } },
    { prompt: 'x', ...flat, generation_params: { prompt: 'x', ...flat, steps: '2' } },
    { positive_prompt: 'x', generation_params: flat }, { prompt: null, ...flat, generation_params: { prompt: 'x' } },
    { prompt: 'x', ...flat, generation_params: { prompt: null } }, { prompt: 'x', ...flat, generation_params: null }
  ]) {
    const answer = await post({ ...body, strict: true })
    t.match(answer, { status: 202, body: { warnings: [] } }, JSON.stringify(body))
    t.match(await jobOf(answer), { prompt: 'x', ...flat }, JSON.stringify(body))
  }
  const dry = await post({ prompt: 'x', ...flat, width: 70, dry_run: true })
  t.match(dry, { status: 200, body: { dry_run: true, warnings: [{ code: 'size_rounded', field: 'width' }] } })
  const bulk = await post({ prompt: 'x', ...flat, bulk_quantity: 2 }, {}, '/api/v2/generate/bulk')
  t.match(bulk, { status: 202, body: { total_jobs: 2, warnings: [] } })
  t.match(await post({ prompt: 'x', ...flat, target_server_alias: 'auto' }, {}, '/api/v1/generate'), { status: 202 })
  t.match(await post({ prompt: 'x' }, {}, '/api/v1/generate'),
    { status: 400, body: { error: 'missing_required_field', details: { field: 'target_server_alias' } } }, 'v1 wants a server')
  t.match(await postForm('/api/v2/generate', form => { form.append('prompt', 'x') }, idle), { status: 202 })
})

t.test('two values of one parameter are refused, by the name at the top', async t => {
  const parameters = { prompt: 'x', steps: 2, sampler_name: 'Euler a' }
  for (const [beside, field] of [
    [{ prompt: 'y' }, 'prompt'], [{ steps: 3 }, 'steps'], [{ positive_prompt: 'y' }, 'positive_prompt'],
    [{ sampler: 'Euler' }, 'sampler']
  ] as const) {
    for (const path of ['/api/v2/generate', '/api/v2/generate/bulk', '/api/v1/generate']) {
      const answer = await post({ target_server_alias: 'auto', generation_params: parameters, ...beside }, {}, path)
      t.match(answer, {
        status: 400,
        body: {
          error: 'invalid_field_value',
          message: new RegExp(`^${field} and generation_params\\.`),
          details: { field }
        }
      }, `${field} at ${path}`)
    }
    t.match(await postForm('/api/v2/generate', form => {
      form.append('generation_params', JSON.stringify(parameters))
      for (const [name, value] of Object.entries(beside)) form.append(name, String(value))
    }, idle), { status: 400, body: { details: { field } } }, `${field} of a form`)
  }
  t.match(await post({ prompt: 'x', steps: 0 }), { status: 400, body: { message: /^steps /, details: { field: 'steps' } } })
  t.match(await post({ prompt: 'x', stpes: 3 }), { status: 202, body: { warnings: [{ code: 'unknown_field_ignored', message: /did you mean steps/ }] } })
  t.match(await post({ prompt: 'x', stpes: 3, strict: true }), { status: 400, body: { details: { field: 'stpes', nearest: ['steps'] } } })
})

t.test('a waiting job moves to any server by the same words', async t => {
  const { body: { id } } = await post(withParameters(quick))
  for (const server of ['auto', 'default', '']) {
    t.match(await idle.request('PATCH', `/api/v2/jobs/${String(id)}`, { server: 'Main' }), { status: 200 })
    t.match(await idle.request('PATCH', `/api/v2/jobs/${String(id)}`, { server }), { status: 200 }, server)
    t.match(await idle.request('POST', '/api/v2/jobs/actions', { action: 'move', ids: [id], server }), { status: 200 }, server)
  }
  t.match(await idle.request('GET', '/api/v2/jobs?server=auto'), { status: 404 }, 'a filter is exact')
})

t.test('a request without a body, or of another type, is rejected in our own shape', async t => {
  for (const [headers, body, status] of [
    [{}, undefined, 400], [{ 'content-type': 'application/json' }, '', 400], [{ 'content-type': 'application/json' }, 'null', 400],
    [{ 'content-type': 'text/plain' }, '{}', 415], [{ 'content-type': 'application/x-www-form-urlencoded' }, 'a=b', 415],
    [{ 'content-type': 'Application/JSON' }, '{"generation_params":{"steps":0}}', 400]
  ] as const) {
    const answer = await idle.request('POST', '/api/v2/generate', body, headers)
    t.match(answer, { status, body: { success: false, error: String, details: { code: String } } },
      JSON.stringify([headers, body]))
  }
})

t.test('Idempotency-Key: a hundred simultaneous requests make one job and get one answer', async t => {
  const headers = { 'idempotency-key': 'order 66' }
  const body = withParameters({ ...quick, init_images: [base64] })
  const total = async () => Number((await idle.request('GET', '/api/v2/jobs?limit=1')).body.total)
  const before = await total()
  const answers = await Promise.all(Array.from({ length: 100 }, async () => await post(body, headers)))
  t.same([...new Set(answers.map(({ status }) => status))], [202])
  const [first] = answers
  t.same(answers.filter(answer => JSON.stringify(answer.body) !== JSON.stringify(first?.body)), [])
  t.equal(await total(), before + 1)
  const original = answers.filter(answer => answer.headers.get('idempotency-replayed') !== 'true')
  t.equal(original.length, 1, 'all but the first say that they repeat')
  const job = await idle.job(String(first?.body.id))
  t.equal((job.generation_params as JsonBody).seed, first?.body.seed)
  t.same((await post(body, headers)).body, first?.body, 'later too')
  const uses = await idle.services.redis.hgetall(idle.services.keys.key('input-uses'))
  t.same(Object.values(uses), ['1'], 'its image is used once')
})

t.test('Idempotency-Key: another body, another kind of request and another client', async t => {
  const headers = { 'idempotency-key': 'k1' }
  const first = await post(withParameters(quick), headers)
  t.equal(first.status, 202)
  t.equal(first.headers.get('idempotency-replayed'), null)
  const other = await post(withParameters({ ...quick, steps: 3 }), headers)
  t.match(other, { status: 422, body: { error: 'idempotency_key_reused', details: { field: 'Idempotency-Key' } } })
  t.equal((await post(withParameters(quick), headers, '/api/v2/generate/bulk')).status, 422)
  t.same((await post(withParameters(quick), headers, '/api/v1/generate')).body, first.body, 'v1 and v2 are one')
  const { headers: key } = await keyHeaders(idle)
  const thirdParty = await post(withParameters(quick), { ...headers, ...key })
  t.equal(thirdParty.status, 202)
  t.not(thirdParty.body.id, first.body.id)
  for (const bad of [' ', 'x'.repeat(256)]) {
    t.match(await post(withParameters(quick), { 'idempotency-key': bad }), { status: 400, body: { error: 'invalid_field_value' } })
  }
})

t.test('Idempotency-Key: a rejected request can be corrected', async t => {
  const headers = { 'idempotency-key': 'corrected' }
  t.equal((await post(withParameters({ ...quick, sampler_name: 'Nope' }), headers)).status, 422)
  t.equal((await post(withParameters(quick), headers)).status, 202)
})

t.test('Idempotency-Key: after a crash between claim and answer the repeat gets the same job', async t => {
  const { redis, keys } = idle.services
  const forgetAnswers = async () => {
    for (const name of await redis.keys(keys.key('idempotency', '*'))) await redis.hdel(name, 'answer')
  }
  const headers = { 'idempotency-key': 'crash' }
  const first = await post(withParameters(quick), headers)
  await forgetAnswers()
  const again = await post(withParameters(quick), headers)
  const { id, seed, creation_timestamp: created } = first.body
  t.match(again, { status: 202, body: { id, seed, creation_timestamp: created } })

  const order = withParameters(quick, { bulk_quantity: 4, seed_variation: 'incremental' })
  const ordering = { 'idempotency-key': 'bulk crash' }
  const bulk = await post(order, ordering, '/api/v2/generate/bulk')
  const ids = (bulk.body.jobs as JsonBody[]).map(({ id }) => id)
  await forgetAnswers()
  // The crashed request had created two jobs.
  for (const id of ids.slice(2)) {
    await idle.request('POST', `/api/v2/jobs/${String(id)}/cancel`)
    await idle.request('DELETE', `/api/v2/jobs/${String(id)}`)
  }
  const whole = await post(order, ordering, '/api/v2/generate/bulk')
  t.match(whole.body, { bulk_job_id: bulk.body.bulk_job_id, total_jobs: 4, jobs: ids.map(id => ({ id })) })
})

t.test('a bulk is read and cancelled with one call', async t => {
  const order = withParameters({ ...quick, seed: 5 }, { bulk_quantity: 5, seed_variation: 'incremental', base_seed: 100 })
  const { status, body, headers } = await post(order, {}, '/api/v2/generate/bulk')
  t.equal(status, 202)
  const path = `/api/v2/generate/bulk/${String(body.bulk_job_id)}`
  t.equal(headers.get('location'), path)
  t.match(body.links, { self: path, cancel: `${path}/cancel` })
  const ids = (body.jobs as JsonBody[]).map(({ id }) => String(id))
  const seeds = await Promise.all(ids.map(async id => ((await idle.job(id)).generation_params as JsonBody).seed))
  t.same(seeds, [100, 101, 102, 103, 104])
  t.match((await idle.request('GET', path)).body, {
    total_jobs: 5, pending_jobs: 5, completed_jobs: 0, progress_percentage: 0, jobs: ids.map(id => ({ id, status: 'pending' }))
  })
  t.match((await idle.request('POST', `${path}/cancel`)).body, { success: true, cancelled_jobs: 5 })
  t.match((await idle.request('GET', path)).body, { cancelled_jobs: 5, progress_percentage: 100 })
  t.match(await idle.request('POST', `${path}/cancel`), { status: 200, body: { cancelled_jobs: 0 } })
  t.match(await idle.request('GET', '/api/v2/generate/bulk/bulk_0'), { status: 404, body: { error: 'bulk_not_found' } })
})

t.test('seeds of a bulk', async t => {
  const seedsOf = async (more: object, parameters: object = quick) => {
    const { body } = await post(withParameters(parameters, { bulk_quantity: 3, ...more }), {}, '/api/v2/generate/bulk')
    return await Promise.all((body.jobs as JsonBody[]).map(async ({ id }) =>
      Number(((await idle.job(String(id))).generation_params as JsonBody).seed)))
  }
  t.equal(new Set(await seedsOf({})).size, 3, 'random by default')
  const [first = 0, ...others] = await seedsOf({ seed_variation: 'incremental' })
  t.same(others, [first + 1, first + 2], 'one after another from a drawn base')
  t.same(await seedsOf({ seed_variation: 'incremental' }, { ...quick, seed: 0 }), [0, 1, 2], 'from the seed of the parameters')
  const last = withParameters(quick, { bulk_quantity: 3, seed_variation: 'incremental', base_seed: '18446744073709551614' })
  t.match(await post(last, {}, '/api/v2/generate/bulk'), { status: 400, body: { details: { field: 'base_seed' } } })
  for (const quantity of [0, 101]) {
    t.match(await post(withParameters(quick, { bulk_quantity: quantity }), {}, '/api/v2/generate/bulk'),
      { status: 400, body: { details: { field: 'bulk_quantity' } } })
  }
})

t.test('a key with too many waiting jobs is rejected, in bulk too', async t => {
  const few = await startService(t, { worker: 'none', settings: { QUEUE_LIMIT_PER_KEY: '3' } })
  const { headers } = await keyHeaders(few)
  const { request } = few
  const bulk = await request('POST', '/api/v2/generate/bulk', withParameters(quick, { bulk_quantity: 4 }), headers)
  t.match(bulk, { status: 429, body: { error: 'queue_limit_reached' } })
  const fitting = await request('POST', '/api/v2/generate/bulk', withParameters(quick, { bulk_quantity: 3 }), headers)
  t.equal(fitting.status, 202)
  t.match(await request('POST', '/api/v2/generate', withParameters(quick), headers), { status: 429 })
})
