import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'undici'
import { startReceiver } from '../webhooks/receiver.ts'
import { onNotices } from '../helper.ts'
import { small, startBots, unselected } from './studio.ts'

const bots = await startBots(t, { settings: { EGRESS_PROFILE: 'lan' } })

t.test('txt2img: a job at once, then its progress, then the image', async t => {
  const { status, body } = await bots.request('POST', '/generate/txt2img', { ...small, batch_count: 2 })
  t.equal(status, 200)
  t.match(body, {
    job_id: /^[0-9a-f-]{36}$/, status: 'queued', message: 'Generation queued successfully', estimated_time: null, seed: 7
  })
  const early = await bots.request('GET', `/jobs/${String(body.job_id)}`)
  t.equal(typeof early.body.progress, 'number', 'progress is never null')
  const job = await bots.ended(body.job_id)
  t.match(job, {
    job_id: body.job_id,
    status: 'completed',
    progress: 1,
    eta_relative: null,
    estimated_time: null,
    message: String,
    created_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/,
    completed_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/,
    user_id: 'ann'
  })
  const result = await bots.request('GET', `/jobs/${String(body.job_id)}/result`)
  t.equal(result.status, 200)
  const images = result.body.images as string[]
  t.equal(images.length, 2, 'batch_count makes batches')
  t.ok(images.every(image => image.startsWith('iVBORw0KGgo')), 'base64 without a prefix')
  t.match(result.body, { job_id: body.job_id, status: 'completed', info: { all_seeds: [7, 8] }, parameters: { prompt: 'a lighthouse', steps: 2 }, error: null })
})

const usual = {
  prompt: 'a lighthouse',
  negative_prompt: '',
  sampler_name: 'DPM++ 2M',
  scheduler: 'Karras',
  steps: 2,
  cfg_scale: 7,
  width: 64,
  height: 64,
  n_iter: 1,
  batch_size: 1,
  seed: 7
}

t.test('txt2img: the request that the server gets', async t => {
  const plain = await bots.generate('/generate/txt2img', small)
  t.equal(plain.path, '/sdapi/v1/txt2img')
  t.same(unselected(plain.asked), usual)
  const { asked } = await bots.generate('/generate/txt2img', {
    ...small,
    checkpoint: 'anime-pastel',
    vae: 'Automatic',
    sampler_name: 'Euler a',
    batch_size: '2',
    enable_hr: 'yes',
    hr_upscaler: 'R-ESRGAN 4x+',
    denoising_strength: 0.5,
    clip_skip: 2,
    a_field_of_the_future: 1
  })
  t.match(asked, {
    sampler_name: 'Euler a',
    batch_size: 2,
    enable_hr: true,
    hr_scale: 2,
    hr_second_pass_steps: 0,
    hr_upscaler: 'R-ESRGAN 4x+',
    denoising_strength: 0.5,
    override_settings: { sd_model_checkpoint: /^anime-pastel/, sd_vae: 'Automatic', CLIP_stop_at_last_layers: 2 },
    override_settings_restore_afterwards: true
  })
  t.notOk('scheduler' in asked)
})

t.test('the LoRAs of a session are appended to the prompt in their order', async t => {
  const add = async (filename: string, weight: unknown) =>
    await bots.request('POST', '/sessions/lena/loras', { filename, weight })
  t.match((await add('film-grain.safetensors', 0.8)).body, {
    message: 'LoRA added to session',
    session: { user_id: 'lena', active_loras: { 'film-grain.safetensors': 0.8 }, controlnet_configs: [], custom_settings: {} }
  })
  await add('add-detail', 1)
  await add('FILM-GRAIN', 0.5)
  await add('not-at-any-server.safetensors', 1)
  const { asked, answer } = await bots.generate('/generate/txt2img', { ...small, user_id: 'lena' })
  t.equal(asked.prompt, 'a lighthouse <lora:film-grain:0.5> <lora:add-detail:1.0>')
  t.match(answer.warnings, [{ code: 'session_lora_left_out', message: /not-at-any-server/ }])
  const own = await bots.generate('/generate/txt2img', {
    ...small, user_id: 'lena', prompt: 'a lighthouse <lora:add-detail:0.3>', loras: { 'watercolor-style.safetensors': 1.2 }
  })
  t.equal(own.asked.prompt, 'a lighthouse <lora:add-detail:0.3> <lora:film-grain:0.5> <lora:watercolor-style:1.2>')

  t.same((await bots.request('DELETE', '/sessions/lena/loras/film-grain.safetensors')).body, { message: 'LoRA removed from session' })
  const gone = await bots.request('DELETE', '/sessions/lena/loras/film-grain.safetensors')
  t.same([gone.status, gone.body], [404, { detail: 'LoRA not found in session' }])
  t.same((await bots.request('DELETE', '/sessions/lena/loras')).body, { message: 'All LoRAs cleared from session' })
  t.same((await bots.request('GET', '/sessions/lena')).body.active_loras, {})
  for (const [weight, type] of [[undefined, 'missing'], [2.5, 'less_than_equal'], ['x', 'float_parsing']] as const) {
    const refused = await add('film-grain', weight)
    t.equal(refused.status, 422)
    t.match(refused.body.detail, [{ type, loc: ['body', 'weight'] }])
  }
})

t.test('a LoRA counts once, in however many ways it is named', async t => {
  await bots.request('PUT', '/sessions/twin', { active_loras: { 'film-grain': 0.5, 'FILM-grain.safetensors': 0.8, 'add-detail': 1 } })
  const { asked } = await bots.generate('/generate/txt2img', { ...small, user_id: 'twin' })
  t.equal(asked.prompt, 'a lighthouse <lora:film-grain:0.8> <lora:add-detail:1.0>', 'A1111 adds the weights of equal tags')
  const own = await bots.generate('/generate/txt2img', { ...small, user_id: 'twin', loras: ['add-detail', { filename: 'add-detail.pt', weight: 0.3 }] })
  t.equal(own.asked.prompt, 'a lighthouse <lora:film-grain:0.8> <lora:add-detail:0.3>')
})

t.test('custom settings are defaults: they only fill in missing fields', async t => {
  await bots.request('PATCH', '/sessions/dora', {
    custom_settings: { preferred_sampler: 'Euler a', default_steps: 3, cfg_scale: 5, mood: 'calm' }
  })
  const { asked, answer } = await bots.generate('/generate/txt2img', {
    user_id: 'dora', prompt: 'a lighthouse', width: 64, height: 64, cfg_scale: 9, checkpoint: null
  })
  t.match(asked, { sampler_name: 'Euler a', steps: 3, cfg_scale: 9 })
  t.match(answer.warnings, [{ code: 'unknown_settings_ignored', message: /mood/ }])
})

t.test('every error has FastAPI\'s shape', async t => {
  const refused = async (body: unknown) => {
    const answer = await bots.request('POST', '/generate/txt2img', body)
    t.equal(answer.status, 422, JSON.stringify(answer.body))
    return answer.body.detail as Array<{ type: string, loc: unknown[], msg: string }>
  }
  const places = async (body: unknown) => (await refused(body)).map(({ type, loc }) => [type, loc.join('.')])
  t.same(await places({}), [['missing', 'body.user_id'], ['missing', 'body.prompt']])
  t.same(await places({ ...small, steps: 151, cfg_scale: 0, width: 20.5, negative_prompt: null }), [
    ['string_type', 'body.negative_prompt'], ['less_than_equal', 'body.steps'], ['greater_than_equal', 'body.cfg_scale'],
    ['int_from_float', 'body.width']
  ])
  t.same(await places([1]), [['model_attributes_type', 'body']])
  t.match(await refused('{"user_id": "ann", }'), [{ type: 'json_invalid', loc: ['body', 19], msg: 'JSON decode error' }])
  t.match(await refused({ ...small, checkpoint: 'anime-pastle' }), [
    { type: 'checkpoint_not_found', loc: ['body', 'checkpoint'], msg: /no checkpoint/, ctx: { nearest: [/anime-pastel/] } }
  ])
  t.match(await refused({ ...small, loras: { 'film-grian': 1 } }), [
    { type: 'model_not_found', loc: ['body', 'loras'], ctx: { nearest: ['film-grain'] } }
  ])
  for (const [method, path, status, detail] of [
    ['GET', '/jobs/nothing', 404, 'Job not found'],
    ['GET', '/jobs/nothing/result', 404, 'Job result not available'],
    ['POST', '/generate/nothing', 404, 'Not Found'],
    ['GET', '/generate/txt2img', 405, 'Method Not Allowed']
  ] as const) {
    const { status: given, body } = await bots.request(method, path)
    t.same([given, body], [status, { detail }], `${method} ${path}`)
  }
})

t.test('a session accepts only values that work for every later image', async t => {
  const put = async (change: unknown) => await bots.request('PUT', '/sessions/odd', change)
  const wrong: Array<[change: object, type: string, ...loc: unknown[]]> = [
    [{ active_loras: { 'film-grain': 'heavy' } }, 'float_parsing', 'active_loras', 'film-grain'],
    [{ active_loras: { 'film-grain': -5 } }, 'greater_than_equal', 'active_loras', 'film-grain'],
    [{ active_loras: { 'film-grain': 1e9 } }, 'less_than_equal', 'active_loras', 'film-grain'],
    [{ active_loras: { 'a:1><lora:b': 1 } }, 'invalid_field_value', 'active_loras'],
    [{ active_loras: { '.safetensors': 1 } }, 'invalid_field_value', 'active_loras'],
    [{ controlnet_configs: [{ model: 'canny' }, { weight: 7 }] }, 'missing', 'controlnet_configs', 1, 'model'],
    [{ custom_settings: { default_steps: 1000 } }, 'less_than_equal', 'custom_settings', 'default_steps'],
    [{ custom_settings: { sampler: 7 } }, 'string_type', 'custom_settings', 'sampler']
  ]
  for (const [change, type, ...loc] of wrong) {
    const { status, body } = await put(change)
    t.equal(status, 422, JSON.stringify(body))
    t.match(body.detail, [{ type, loc: ['body', ...loc] }])
    const imported = await bots.request('POST', '/sessions/odd/import', { session: change })
    t.match(imported.body.detail, [{ type, loc: ['body', 'session', ...loc] }])
  }
  t.match((await bots.request('POST', '/sessions/odd/loras', { filename: 'a:b', weight: 1 })).body.detail, [{ loc: ['body', 'filename'] }])
  t.match((await bots.request('POST', '/sessions/odd/import', { presets: { one: { config: {} } } })).body.detail,
    [{ type: 'missing', loc: ['body', 'presets', 'one', 'name'] }])
  t.same((await bots.request('GET', '/sessions/odd')).body.last_updated, null, 'nothing was stored')
  t.match(await put({ active_loras: { 'film-grain': '0.5' }, custom_settings: { steps: null, mood: 'calm' } }), { status: 200 })
  t.match((await bots.request('GET', '/sessions/odd')).body, { active_loras: { 'film-grain': 0.5 }, custom_settings: { mood: 'calm' } })
})

t.test('the error for a request without a body names the missing one', async t => {
  for (const path of ['/generate/txt2img', '/generate/batch', '/controlnet/preprocess', '/sessions/ann/loras', '/presets/ann']) {
    const response = await fetch(bots.url + path, { method: 'POST' })
    t.match([response.status, await response.json()], [422, { detail: [{ type: 'missing', loc: ['body'] }] }], path)
  }
})

t.test('a user\'s jobs and the pause before the next one', async t => {
  const idle = { waiting: 0, running: 0 }
  t.match((await bots.request('GET', '/queue')).body, { position: 1, total_jobs: 0, ...idle, servers: [{ alias: 'Main', ...idle }] })
  const { body: running } = await bots.request('POST', '/generate/txt2img', { ...small, steps: 150 })
  await onNotices(bots.services, async () => (await bots.request('GET', '/queue')).body.running === 1 ? true : undefined)
  const { body: waiting } = await bots.request('POST', '/generate/txt2img', small)
  const { body } = await bots.request('GET', '/queue')
  t.match(body, { position: 2, total_jobs: 2, waiting: 1, running: 1, servers: [{ alias: 'Main', waiting: 1, running: 1 }] })
  t.ok(Number(body.estimated_wait_time) >= 1)
  for (const { job_id: id } of [running, waiting]) await bots.request('POST', `/jobs/${String(id)}/cancel`)
  await bots.ended(running.job_id)
})

t.test('a WebSocket shows a job: its state, each change, its end once', async t => {
  const { body } = await bots.request('POST', '/generate/txt2img', { ...small, steps: 150 })
  t.ok(Number(body.estimated_time) >= 1, 'the server is known by now, and with it how long this takes')
  const socket = new WebSocket(`${bots.url.replace('http', 'ws')}/ws/jobs/${String(body.job_id)}`)
  const messages: Array<{ type: string, job_id: string, progress: number, estimated_time: number | null }> = []
  socket.addEventListener('message', ({ data }) => { messages.push(JSON.parse(String(data)) as typeof messages[number]) })
  const code = await new Promise(resolve => { socket.addEventListener('close', event => { resolve(event.code) }) })
  t.equal(code, 1000)
  t.ok(messages.every(({ job_id: id, progress }) => id === body.job_id && typeof progress === 'number'))
  t.equal(messages.filter(({ type }) => type === 'completed').length, 1)
  t.ok(messages.some(({ estimated_time: seconds }) => Number(seconds) >= 1))
  t.match(messages.at(-1), { type: 'completed', progress: 1, estimated_time: null })
  const unknown = await bots.request('GET', '/ws/jobs/nothing')
  t.same([unknown.status, unknown.body], [404, { detail: 'Job not found' }])
})

t.test('one WebSocket shows all jobs of a user, later ones too, and of no other user', async t => {
  const { body: first } = await bots.request('POST', '/generate/txt2img', { ...small, user_id: 'uma', steps: 150 })
  const socket = new WebSocket(`${bots.url.replace('http', 'ws')}/ws/users/uma`)
  const messages: Array<{ type: string, job_id: string, user_id: string }> = []
  const heard = new EventEmitter()
  socket.addEventListener('message', ({ data }) => {
    messages.push(JSON.parse(String(data)) as typeof messages[number])
    heard.emit('message')
  })
  const until = async (type: string, id: unknown) => {
    while (!messages.some(message => message.type === type && message.job_id === id)) await once(heard, 'message')
  }
  await until('snapshot', first.job_id)
  const { body: other } = await bots.request('POST', '/generate/txt2img', { ...small, user_id: 'vito' })
  const { body: second } = await bots.request('POST', '/generate/txt2img', { ...small, user_id: 'uma' })
  const { body: third } = await bots.request('POST', '/generate/txt2img', { ...small, user_id: 'uma', steps: 150 })
  await until('snapshot', second.job_id)
  await bots.request('POST', `/jobs/${String(third.job_id)}/cancel`)
  await Promise.all([until('completed', first.job_id), until('completed', second.job_id), until('failed', third.job_id)])
  t.match(await bots.ended(other.job_id), { status: 'completed' })
  await bots.request('DELETE', `/jobs/${String(second.job_id)}`)
  socket.close()
  t.ok(messages.every(({ user_id: user }) => user === 'uma'))
  for (const { job_id: id } of [first, second, third]) {
    const types = messages.filter(message => message.job_id === id).map(({ type }) => type)
    t.equal(types[0], 'snapshot')
    t.equal(types.filter(type => type === 'completed' || type === 'failed').length, 1, 'its end once')
  }
  t.equal((await bots.request('GET', '/ws/users/uma')).status, 426)
})

t.test('a client that asks for one answer instead of a stream waits for the end of a job or a batch', async t => {
  const { body } = await bots.request('POST', '/generate/txt2img', { ...small, steps: 40 })
  t.match((await bots.request('GET', `/jobs/${String(body.job_id)}?wait=60`)).body, { status: 'completed', progress: 1 })
  const { body: batch } = await bots.request('POST', '/generate/batch', {
    user_id: 'ann', base_request: small, variations: [{ seed: 1 }, { seed: 2 }]
  })
  t.match((await bots.request('GET', `/jobs/${String(batch.batch_id)}?wait=60`)).body, { status: 'completed', message: '2 of 2 done' })
  const long = (await bots.request('POST', '/generate/txt2img', { ...small, steps: 150, batch_count: 10 })).body.job_id
  t.match((await bots.request('GET', `/jobs/${String(long)}?wait=1`)).body, { job_id: long, progress: Number }, 'or the seconds are over')
  await bots.request('POST', `/jobs/${String(long)}/cancel`)
  const wrong = await bots.request('GET', `/jobs/${String(long)}?wait=500`)
  t.match(wrong, { status: 422, body: { detail: [{ loc: ['query', 'wait'] }] } })
})

t.test('a webhook in the request gets the end with the client\'s own data, for each image of a batch', async t => {
  const receiver = await startReceiver(t, [bots.services.webhooks.signingKeys.ownSecret])
  const form = new FormData()
  const fields = { ...small, webhook_url: receiver.url, webhookEvents: 'job.started,job.completed', metadata: '{"channel": 42}' }
  for (const [name, value] of Object.entries(fields)) form.set(name, String(value))
  const response = await fetch(`${bots.url}/generate/txt2img`, { method: 'POST', body: form })
  const { job_id: id } = await response.json() as { job_id: string }
  const events = (await receiver.until(2)).map(({ event }) => event)
  t.same(events.map(({ type }) => type).toSorted(), ['job.completed', 'job.started'])
  t.match(events.find(({ type }) => type === 'job.completed'), { data: { id, status: 'completed', metadata: { channel: 42 } } })

  const { body } = await bots.request('POST', '/generate/batch', {
    user_id: 'ann', base_request: small, variations: [{ seed: 1 }, { seed: 2 }], webhookUrl: receiver.url, webhookKey: 'hush', metadata: 'grid'
  })
  t.equal(body.webhook_signing_secret, 'whsec_aHVzaA==', 'by which a library verifies')
  const ended = (await receiver.until(4)).slice(2).map(({ event: { data } }) => data)
  t.same(ended.map(data => data.id).toSorted(), (body.job_ids as string[]).toSorted())
  t.ok(ended.every(({ metadata }) => metadata === 'grid'))

  const keyed = await bots.request('POST', '/generate/txt2img', { ...small, webhookUrl: receiver.url, webhook_key: 'hush' })
  t.equal(keyed.body.webhook_signing_secret, 'whsec_aHVzaA==')
  for (const [field, value] of [
    ['webhookUrl', 'ftp://example.org'], ['webhookAuth', 'none'], ['webhookEvents', 'job.finished'], ['metadata', 'x'.repeat(5000)]
  ] as const) {
    const request = { ...small, webhookUrl: receiver.url, [field]: value }
    const { status, body: { detail } } = await bots.request('POST', '/generate/txt2img', request)
    t.match({ status, detail }, { status: 422, detail: [{ loc: ['body', field] }] })
  }
})
