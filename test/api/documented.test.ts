import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'

/** The routes in StableQueue's own documents, and their documented answers. */
const service = await startService(t, { settings: { RATE_LIMIT_PER_MINUTE: '0' } })
const { request } = service
const get = async (path: string) => (await request('GET', path)).body

const uuid = /^[0-9a-f]{8}-[0-9a-f-]{27}$/
const timestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** As the web page of StableQueue sends it. */
const ownNames = {
  style_preset: 'simple',
  sampling_category: 'Both',
  enable_hires_fix: false,
  upscaler_model: 'None',
  refiner_model: 'None',
  num_images: 1,
  scheduler_or_quality_preset: 'Balanced',
  tracking_id: 'order 7'
}
const documented = {
  target_server_alias: 'Main',
  generation_params: {
    positive_prompt: 'a pretty landscape',
    negative_prompt: 'ugly',
    checkpoint_name: 'sdxl\\juggernaut-xl.safetensors',
    seed: '',
    subseed: '',
    width: 64,
    height: 64,
    steps: 2,
    cfg_scale: 7,
    sampler_name: 'Euler',
    restore_faces: false,
    ...ownNames
  }
}

async function completed (): Promise<string> {
  const { body } = await request('POST', '/api/v1/generate', documented)
  await service.until(String(body.stablequeue_job_id), 'completed')
  return String(body.stablequeue_job_id)
}

const id = await completed()
const waiting = await startService(t, { worker: 'none', redis: service.redis, settings: { REDIS_PREFIX: 'waiting' } })
const held = String((await waiting.request('POST', '/api/v1/generate', documented)).body.stablequeue_job_id)

const job = {
  stablequeue_job_id: uuid,
  mobilesd_job_id: uuid,
  creation_timestamp: timestamp,
  last_updated_timestamp: timestamp,
  target_server_alias: 'Main',
  generation_params: { positive_prompt: 'a pretty landscape', negative_prompt: 'ugly', width: 64, steps: 2, ...ownNames },
  retry_count: 0
}
const ended = {
  ...job,
  status: 'completed',
  completion_timestamp: timestamp,
  result_details: {
    images: [/\.png$/],
    info: /^The job completed; 1 image is kept/,
    generation_info: { prompt: 'a pretty landscape', all_prompts: ['a pretty landscape'], seed: Number }
  }
}
const pending = { ...job, status: 'pending', completion_timestamp: null, result_details: null }
const model = {
  filename: /\.safetensors$/, relativePath: /^(\/|sdxl)$/, created: null, modified: null, size: null, type: /^(checkpoint|lora)$/, baseModel: null, civitai_url: null, civitai_id: null, description: null, tags: []
}
const details = {
  filename: 'dreamscape-v8.safetensors',
  relativePath: '/',
  type: 'checkpoint',
  civitai_id: null,
  model_version_id: null,
  civitai_name: null,
  preview_images: [],
  downloads: null,
  favorited: null,
  rating: null,
  trigger_words: [],
  metadata_source: 'none'
}

const answers: ReadonlyArray<readonly [path: string, answer: object]> = [
  [`/api/v1/queue/jobs/${id}/status`, ended],
  [`/api/v1/queue/jobs/${id}`, ended],
  ['/api/v1/queue/jobs?status=completed&limit=1&offset=0&order=desc', { total: 1, jobs: [ended] }],
  [`/api/v2/jobs/${id}/status`, {
    success: true, job: { ...ended, app_type: 'forge', source_info: 'extension', queue_position: null, estimated_time_remaining: null }
  }],
  ['/api/v2/jobs?status=completed&app_type=forge&limit=10', {
    success: true, total: 1, filters: { status: 'completed', app_type: 'forge', limit: 10, order: 'DESC' }, jobs: [ended]
  }],
  ['/api/v1/servers', [{ alias: 'Main', host: '127.0.0.1', port: Number, description: null }]],
  ['/api/v1/api-keys/setup', { is_first_setup: true, existing_keys_count: 0 }],
  ['/api/v1/api-keys', { success: true, api_keys: [], count: 0 }],
  ['/api/v1/samplers', [{ name: String }]],
  ['/api/v1/loras', [{ filename: /./, relativePath: /^\// }]],
  ['/api/v1/checkpoints?search=dreamscape', [{ filename: /./, relativePath: '/' }]],
  ['/api/v1/checkpoints?search=juggernaut', [{ filename: /./, relativePath: 'sdxl' }]],
  ['/api/v1/models?type=checkpoint', { success: true, count: 4, models: [model] }],
  ['/api/v1/models/dreamscape-v8.safetensors/info', { success: true, model: details, ...details }],
  ['/api/v1/models/dreamscape-v8.safetensors/info?type=checkpoint', { success: true, model: details }],
  ['/api/v1/debug/verify-checkpoint?checkpoint_path=sdxl%5Cjuggernaut-xl.safetensors&server_alias=Main', {
    success: true,
    original_path: 'sdxl\\juggernaut-xl.safetensors',
    normalized_path: 'sdxl/juggernaut-xl.safetensors',
    matched_model: /^sdxl\/juggernaut-xl\.safetensors( \[[0-9a-f]{10}\])?$/,
    available_models: [String, String, String, String]
  }],
  ['/api/v1/debug/verify-checkpoint?checkpoint_path=nowhere%5C%5Cnope.ckpt&server_alias=Main', {
    success: true, original_path: 'nowhere\\\\nope.ckpt', normalized_path: 'nowhere/nope.ckpt', matched_model: null, available: false
  }],
  ['/api/v1/debug/models-cache', {
    success: true,
    cache_size: Number,
    models: [{ id: Number, name: String, path: String, normalized_path: String, aliases: [String] }]
  }]
]

t.test('each route\'s answer contains its documented keys', async t => {
  for (const [path, answer] of answers) {
    const { status, body } = await request('GET', path)
    t.equal(status, 200, path)
    t.match(body, answer, path)
  }
  t.match((await waiting.request('GET', `/api/v1/queue/jobs/${held}/status`)).body, pending)
})

t.test('a submission answers 202 with its id, under every name, and keeps the names of its client', async t => {
  const { status, body } = await waiting.request('POST', '/api/v1/generate', documented)
  t.equal(status, 202)
  t.match(body, { stablequeue_job_id: uuid, mobilesd_job_id: body.stablequeue_job_id as string })
  const view = await waiting.job(String(body.job_id))
  const { generation_params: echo, client_params: own } = view as unknown as Record<string, JsonBody>
  t.match(echo, ownNames)
  t.match(echo, { n_iter: 1, prompt: 'a pretty landscape', checkpoint_name: /juggernaut/ }, 'beside ours')
  t.match(own, ownNames)
  t.strictSame(Object.keys(own ?? {}), Object.keys(ownNames), 'ours are not repeated')
  const long = await waiting.request('POST', '/api/v1/generate', {
    ...documented, generation_params: { ...quick, note: 'x'.repeat(2000), many: Array.from({ length: 9 }, () => 'y'.repeat(150)), few: [1] }
  })
  const kept = (await waiting.job(String(long.body.job_id))).client_params as JsonBody
  t.strictSame(Object.keys(kept), ['few'], 'what is long is left out')
  const bulk = await waiting.request('POST', '/api/v2/generate/bulk', { ...documented, bulk_quantity: 2 })
  const [, second] = bulk.body.jobs as Array<{ id: string }>
  t.match((await waiting.job(second?.id ?? '')).generation_params, ownNames, 'and so does each job of a bulk')
})

t.test('cancelling and deleting report their result', async t => {
  const cancel = await waiting.request('POST', `/api/v1/queue/jobs/${held}/cancel`)
  t.match(cancel, {
    status: 200,
    body: {
      message: String,
      job: { ...job, status: 'cancelled', completion_timestamp: timestamp, result_details: { cancelled: true, message: String, info: String } }
    }
  })
  t.match(await waiting.request('DELETE', `/api/v1/queue/jobs/${held}`), { status: 200, body: { message: String } })
})

t.test('models without a type are checkpoints and LoRAs, or all if the request asks for them', async t => {
  const typesOf = async (query: string) => {
    const { models } = await get(`/api/v1/models${query}`) as unknown as { models: Array<{ type: string }> }
    return [...new Set(models.map(({ type }) => type))].sort()
  }
  t.strictSame(await typesOf(''), ['checkpoint', 'lora'])
  t.strictSame(await typesOf('?type=vae'), ['vae'])
  t.match((await typesOf('?type=all')).join(), /checkpoint,.*lora,.*vae/)
  t.match(await request('GET', '/api/v1/models?type=nope'), { status: 400, body: { details: { field: 'type' } } })
})

t.test('the first key is created once, however many requests arrive at a time, and only for trusted clients', async t => {
  const setup = '/api/v1/api-keys/setup'
  for (const headers of [
    { 'x-forwarded-for': '203.0.113.5' }, { origin: 'https://elsewhere.example' }, { 'sec-fetch-site': 'cross-site' },
    { authorization: 'Bearer not-the-admin-token' }
  ]) {
    const { status, body } = await request('POST', setup, { name: 'first' }, headers)
    t.ok(status === 401 || status === 403, `${status} for ${JSON.stringify(headers)}`)
    t.match(body, { success: false, error: String, message: /./ })
  }
  const wrong = await request('POST', setup, { name: 'first', descripton: 'x' })
  t.match(wrong, { status: 400, body: { details: { field: 'descripton', nearest: ['description'] } } })
  t.match(await get(setup), { is_first_setup: true, existing_keys_count: 0 }, 'none of them made one')
  const all = await Promise.all(Array.from({ length: 50 }, async (_one, number) =>
    await request('POST', setup, { name: `first ${number}`, description: 'Initial key' })))
  const made = all.filter(({ status }) => status === 201)
  t.equal(made.length, 1)
  t.match(made[0]?.body, {
    success: true,
    message: String,
    api_key: { id: uuid, name: /^first \d+$/, description: 'Initial key', key: /^mk_/, is_active: true, created_at: timestamp }
  })
  t.ok(all.every(({ status, body }) => status === 201 || (status === 409 && body.error === 'setup_already_done')))
  t.match(await get(setup), { is_first_setup: false, existing_keys_count: 1 })
  const { api_keys: keys } = await get('/api/v1/api-keys') as unknown as { api_keys: JsonBody[] }
  t.match(keys, [{ id: uuid, name: String, description: 'Initial key', is_active: true, created_at: timestamp, last_used_at: null, usage_count: 0 }])
  const limited = { 'x-api-key': String(made[0]?.body.key), 'x-api-secret': String(made[0]?.body.secret) }
  t.equal((await request('POST', setup, {}, limited)).status, 403, 'a key needs the right to make keys')
})

t.test('errors name the wrong field', async t => {
  const verify = '/api/v1/debug/verify-checkpoint'
  const wrong: ReadonlyArray<readonly [path: string, status: number, code: string, field: string]> = [
    [verify, 400, 'missing_required_field', 'checkpoint_path'],
    [`${verify}?checkpoint_path=%20`, 400, 'missing_required_field', 'checkpoint_path'],
    [`${verify}?checkpoint_path=a&server_alias=Nobody`, 404, 'server_not_found', 'server_alias'],
    [`${verify}?checkpoint_path=a&server=Main`, 400, 'invalid_field_value', 'server'],
    ['/api/v1/debug/models-cache?refresh=1', 400, 'invalid_field_value', 'refresh'],
    ['/api/v1/models?server=Nobody', 404, 'server_not_found', 'server'],
    ['/api/v1/models/nope.safetensors/info', 404, 'model_not_known', 'id'],
    ['/api/v1/models/dreamscape-v8.safetensors/info?type=nope', 400, 'invalid_field_value', 'type'],
    ['/api/v1/queue/jobs?status=nope', 400, 'invalid_field_value', 'status']
  ]
  for (const [path, status, code, field] of wrong) {
    t.match(await request('GET', path), {
      status, body: { success: false, error: code, message: String, details: { field, code, timestamp } }
    }, path)
  }
})

t.test('each of these routes has its scope', async t => {
  const { body } = await request('POST', '/api/v1/api-keys', { name: 'jobs only', scopes: ['jobs:write', 'jobs:read'] })
  const headers = { 'x-api-key': String(body.key), 'x-api-secret': String(body.secret) }
  for (const path of ['/api/v1/models', '/api/v1/models/1/info', '/api/v1/debug/models-cache',
    '/api/v1/debug/verify-checkpoint?checkpoint_path=a', '/api/v1/api-keys', '/api/v1/servers']) {
    t.match(await request('GET', path, undefined, headers), { status: 403, body: { error: 'permission_denied' } }, path)
  }
  t.equal((await request('GET', `/api/v1/queue/jobs/${id}/status`, undefined, headers)).status, 404, 'the job of another')
})
