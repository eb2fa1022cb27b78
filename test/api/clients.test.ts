import t from 'tap'
import { forgeExtensionParameters } from '../clients/bodies.ts'
import { startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t)
const { headers } = await keyHeaders(service)

const extensionBody = {
  app_type: 'forge',
  target_server_alias: 'Main',
  generation_params: forgeExtensionParameters,
  source_info: 'forge_extension_v1.0.0'
}

const lastGeneration = () => service.simulator.state().generations.at(-1)

t.test('the Forge extension finds its servers, also with an extra slash, and gets 401 without credentials', async t => {
  for (const path of ['/api/v1/servers', '//api/v1/servers', '/api//v1//servers/']) {
    const { status, body } = await service.request('GET', path, undefined, headers)
    t.equal(status, 200, path)
    t.ok(Array.isArray(body), 'a bare array')
    t.same((body as unknown as JsonBody[]).map(({ alias }) => alias), ['Main'])
    const without = await service.request('GET', path, undefined, { 'X-API-Key': '', 'X-API-Secret': '' })
    t.match(without, { status: 401, body: { success: false, error: /^(invalid_api_key|authentication_required)$/ } })
  }
  const wrong = await service.request('GET', '/api/v1/servers', undefined, { ...headers, 'X-API-Secret': 'wrong' })
  t.equal(wrong.status, 401)
  t.match(wrong.body, { success: false, error: 'invalid_api_key' })
})

t.test('the Forge extension submits and gets exactly 202 with mobilesd_job_id', async t => {
  const { status, body } = await service.request('POST', '/api/v2/generate', extensionBody, headers)
  t.equal(status, 202)
  const id = String(body.mobilesd_job_id)
  t.match(body, {
    success: true,
    stablequeue_job_id: id,
    job_id: id,
    queue_position: 1,
    app_type: 'forge',
    creation_timestamp: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    target_server_alias: 'Main'
  })
  const job = await service.until(id, 'completed', 'failed')
  t.match(job, {
    status: 'completed',
    source_info: 'forge_extension_v1.0.0',
    generation_params: { positive_prompt: 'A beautiful landscape', negative_prompt: 'blurry', seed: body.seed as number }
  })
  t.match(lastGeneration(), { taskId: id, prompt: 'A beautiful landscape', seed: body.seed as number })
})

t.test('its bulk button sends the same body ten times and gets ten jobs', async t => {
  const ids = new Set<unknown>()
  for (let count = 0; count < 10; count++) {
    const { status, body } = await service.request('POST', '//api/v2/generate', extensionBody, headers)
    t.equal(status, 202)
    ids.add(body.mobilesd_job_id)
  }
  t.equal(ids.size, 10)
  for (const id of ids) await service.until(String(id), 'completed')
})

t.test('its context menu names the server `default`, or none, and still reaches one', async t => {
  for (const alias of ['default', 'Default', '']) {
    const body = { ...extensionBody, target_server_alias: alias }
    t.match(await service.request('POST', '/api/v2/generate', body, headers), {
      status: 202, body: { target_server_alias: 'Main' }
    })
  }
})

t.test('a server with the name `default` gets the jobs for `default`', async t => {
  const url = service.simulator.url
  t.equal((await service.request('POST', '/api/v1/servers', { alias: 'default', apiUrl: url })).status, 201)
  const { body } = await service.request('POST', '/api/v2/generate', { ...extensionBody, target_server_alias: 'default' })
  t.equal(body.target_server_alias, 'default')
  t.equal((await service.request('DELETE', '/api/v1/servers/default?jobs=cancel')).status, 200)
})

t.test('a checkpoint by the path of another operating system is found', async t => {
  const parameters = { ...forgeExtensionParameters, checkpoint_name: 'sdxl\\juggernaut-xl.safetensors' }
  const { body } = await service.request('POST', '/api/v2/generate', { ...extensionBody, generation_params: parameters }, headers)
  const job = await service.until(String(body.mobilesd_job_id), 'completed', 'failed')
  t.equal(job.status, 'completed')
  t.equal(lastGeneration()?.checkpoint, 'sdxl/juggernaut-xl.safetensors')
})

t.test('test_connection.py succeeds: status, servers, a job, a bulk', async t => {
  t.equal((await service.request('GET', '/status')).status, 200)
  const [server] = (await service.request('GET', '/api/v1/servers', undefined, headers)).body as unknown as JsonBody[]
  const body = {
    app_type: 'forge',
    target_server_alias: server?.alias,
    generation_params: {
      positive_prompt: 'test', negative_prompt: '', width: 64, height: 64, steps: 5, cfg_scale: 7, sampler_name: 'Euler', seed: -1
    },
    source_info: 'stablequeue_forge_extension_test'
  }
  const one = await service.request('POST', '/api/v2/generate', body, headers)
  t.equal(one.status, 202)
  t.type(one.body.stablequeue_job_id, 'string')
  const many = { ...body, bulk_quantity: 3, seed_variation: 'random', job_delay: 1 }
  const bulk = await service.request('POST', '/api/v2/generate/bulk', many, headers)
  t.equal(bulk.status, 202)
  t.match(bulk.body, { success: true, bulk_job_id: /^bulk_/, total_jobs: 3 })
  const jobs = bulk.body.jobs as JsonBody[]
  t.equal(jobs.length, 3)
  for (const job of jobs) {
    t.equal(job.stablequeue_job_id, job.mobilesd_job_id)
    await service.until(String(job.mobilesd_job_id), 'completed')
  }
})

t.test('older extensions send a whole txt2img payload and read success and stablequeue_job_id', async t => {
  const parameters = {
    prompt: 'an old castle',
    negative_prompt: '',
    steps: 2,
    width: 64,
    height: 64,
    batch_count: 2,
    seed: 0,
    alwayson_scripts: {},
    script_args: [],
    something_of_later: { a: 1 }
  }
  const request = { app_type: 'forge', target_server_alias: 'Main', source_info: 'x', priority: 5, generation_params: parameters, tab: 1 }
  const { status, body } = await service.request('POST', '/api/v2/generate', request, headers)
  t.equal(status, 202)
  t.equal(body.success, true)
  t.equal(body.seed, 0, '0 is a seed')
  const job = await service.until(String(body.stablequeue_job_id), 'completed', 'failed')
  t.equal(job.status, 'completed')
  t.same(job.images.filter(({ role }) => role === 'image').map(({ seed }) => seed), [0, 1], 'batch_count means n_iter')
})

t.test('older extensions send the raw values of the form', async t => {
  const data: unknown[] = Array.from({ length: 40 }, () => null)
  data[0] = 'a fox in the snow'
  data[2] = 'ugly'
  data[17] = 4711
  data[21] = 1
  data[23] = 'Euler a'
  data[30] = 'anime-pastel.safetensors'
  const parameters = {
    type: 'gradio_raw', tab_id: 'txt2img', source_url: 'http://localhost:7860/', forge_session_hash: 'x', fn_index: 3, raw_payload: { data }
  }
  const { status, body } = await service.request('POST', '/api/v2/generate',
    { app_type: 'forge', target_server_alias: 'Main', generation_params: parameters }, headers)
  t.equal(status, 202)
  t.equal(body.seed, 4711)
  const { generation_params: understood } = await service.job(String(body.job_id))
  t.match(understood, { prompt: 'a fox in the snow', negative_prompt: 'ugly', seed: 4711, sampler_name: 'Euler a', checkpoint_name: /^anime-pastel/ })
  await service.request('POST', `/api/v2/jobs/${String(body.job_id)}/cancel`)
})

t.test('the Civitai browser gets exactly 200 with job_id for an infotext of many lines', async t => {
  const infotext = [
    'a knight,', 'standing on a hill', 'Negative prompt: blurry,', 'low quality',
    'Steps: 2, Sampler: Euler a, CFG scale: 5.5, Seed: 0, Size: 64x96, Lora hashes: "a: 1, b: 2"'
  ].join('\n')
  const { status, body } = await service.request('POST', '/api/v2/generate', {
    app_type: 'forge', target_server_alias: 'Main', source_info: 'civitai_browser_plus', generation_info_raw: infotext
  }, headers)
  t.equal(status, 200)
  const job = await service.until(String(body.job_id), 'completed', 'failed')
  t.match(job, {
    status: 'completed',
    generation_params: {
      prompt: 'a knight,\nstanding on a hill', negative_prompt: 'blurry,\nlow quality', cfg_scale: 5.5, seed: 0, width: 64, height: 96
    },
    images: [{ width: 64, height: 96, seed: 0 }]
  })
  const refused = await service.request('POST', '/api/v2/generate', {
    app_type: 'forge', target_server_alias: 'nowhere', source_info: 'civitai_browser_plus', generation_info_raw: infotext
  }, headers)
  t.equal(refused.status, 404)
})

t.test('v1 needs no version of its own: the same job under every spelling, flat where v1 always was', async t => {
  const { status, body } = await service.request('POST', '/api/v1/generate', {
    target_server_alias: 'Main', generation_params: { positive_prompt: 'a lighthouse', steps: 2, width: 64, height: 64 }
  }, headers)
  t.equal(status, 202)
  const id = String(body.mobilesd_job_id)
  await service.until(id, 'completed')
  for (const base of ['/api/v1/jobs', '/api/v1/queue/jobs']) {
    for (const path of [`${base}/${id}`, `${base}/${id}/status`]) {
      t.match((await service.request('GET', path, undefined, headers)).body, { mobilesd_job_id: id, status: 'completed' }, path)
    }
  }
  for (const base of ['/api/v2/jobs', '/api/v2/queue/jobs']) {
    for (const path of [`${base}/${id}`, `${base}/${id}/status`]) {
      const answer = await service.request('GET', path, undefined, headers)
      t.match(answer.body, { success: true, job: { mobilesd_job_id: id, status: 'completed' } }, path)
    }
  }
})

t.test('rows contain the parameters as object and as text, and the names of images under /outputs', async t => {
  const { body: { jobs } } = await service.request('GET', '/api/v1/queue/jobs?status=completed&limit=1', undefined, headers)
  const [row] = jobs as JsonBody[]
  t.same(JSON.parse(String(row?.generation_params_json)), row?.generation_params)
  t.same(JSON.parse(String(row?.result_details_json)), row?.result_details)
  const { images, saved_filenames: saved } = row?.result_details as { images: string[], saved_filenames: string[] }
  t.same(images, saved)
  const image = await fetch(`${service.url}/outputs/${images[0] ?? ''}`, { headers })
  t.equal(image.status, 200)
  t.equal(image.headers.get('content-type'), 'image/png')
})

t.test('both forms of credentials are accepted', async t => {
  const bearer = Buffer.from(`${headers['X-API-Key']}:${headers['X-API-Secret']}`).toString('base64')
  const answer = await service.request('GET', '/api/v2/jobs', undefined, { authorization: `Bearer ${bearer}` })
  t.equal(answer.status, 200)
})
