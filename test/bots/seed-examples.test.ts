import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t from 'tap'
import { small, startBots } from './studio.ts'

/**
 * The examples that clients of the older server are based on, as their libraries send them: Python's requests, Swift's
 * URLSession and curl.
 */
const bots = await startBots(t, {
  simulator: {
    checkpoints: ['other.safetensors', 'animefull_final.safetensors'],
    loras: ['character_lora', 'style_lora', 'anime_lines']
  }
})

const python = { 'user-agent': 'python-requests/2.32.3', accept: '*/*', connection: 'keep-alive' }
const post = async (path: string, body: unknown, headers: Record<string, string> = python) =>
  await bots.request('POST', path, body, headers)
const get = async (path: string) => await bots.request('GET', path, undefined, python)
const lastAsked = () => bots.recorder.generations.at(-1)?.body ?? {}

/** The ControlNet units that the server got. */
function unitsOf (asked: Readonly<Record<string, unknown>>): Array<Record<string, unknown>> {
  const scripts = asked.alwayson_scripts as Record<string, { args: Array<Record<string, unknown>> }>
  return Object.values(scripts)[0]?.args ?? []
}

/** The body that requests makes of `files` and `data`: fields first, one part per list entry, as Python prints it. */
async function postForm (path: string, fields: ReadonlyArray<readonly [string, string]>, file: Buffer) {
  const boundary = 'd4d1fd3fb1a3f05ab2b4f67b8be4e6d5'
  const texts = fields.map(([name, value]) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="pose_reference.jpg"\r\n\r\n`
  const body = Buffer.concat([Buffer.from(texts.join('') + head), file, Buffer.from(`\r\n--${boundary}--\r\n`)])
  const response = await fetch(bots.url + path, {
    method: 'POST', body, headers: { ...python, 'content-type': `multipart/form-data; boundary=${boundary}` }
  })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

t.test('Python: a LoRA for the session, then txt2img', async t => {
  const added = await post('/sessions/user123/loras', { filename: 'character_lora.safetensors', weight: 0.8 })
  t.match(added, { status: 200, body: { message: 'LoRA added to session', session: { user_id: 'user123', active_loras: { 'character_lora.safetensors': 0.8 } } } })
  const { status, body } = await post('/generate/txt2img', {
    user_id: 'user123',
    prompt: 'beautiful anime girl, detailed face',
    negative_prompt: 'low quality, blurry',
    checkpoint: 'animefull_final.safetensors',
    width: 512,
    height: 768,
    steps: 20,
    cfg_scale: 7.0,
    sampler_name: 'DPM++ 2M Karras'
  })
  t.match({ status, body }, { status: 200, body: { job_id: String, status: 'queued', message: 'Generation queued successfully', estimated_time: null } })
  t.match(await bots.ended(body.job_id), { status: 'completed' })
  t.match(lastAsked(), {
    prompt: 'beautiful anime girl, detailed face <lora:character_lora:0.8>',
    sampler_name: 'DPM++ 2M',
    scheduler: 'Karras',
    width: 512,
    height: 768,
    override_settings: { sd_model_checkpoint: /^animefull_final/ }
  })

  await t.test('the loop that waits for the result', async t => {
    for (;;) {
      const { body: job } = await get(`/jobs/${String(body.job_id)}`)
      t.equal(typeof job.progress, 'number', 'Python formats it, and fails on None')
      if (job.status !== 'completed') {
        await sleep(20)
        continue
      }
      const { body: result } = await get(`/jobs/${String(body.job_id)}/result`)
      t.ok((result.images as string[]).every(image => image.startsWith('iVBORw0KGgo')))
      t.match(result, { status: 'completed', error: null, info: { all_seeds: [Number] }, parameters: { steps: 20 } })
      break
    }
  })
})

t.test('Python: ControlNet with an uploaded pose and a unit as Python prints it', async t => {
  const pose = await sharp({ create: { width: 512, height: 512, channels: 3, background: 'black' } }).jpeg().toBuffer()
  const { status, body } = await postForm('/generate/controlnet', [
    ['user_id', 'user123'],
    ['prompt', 'detailed portrait, studio lighting'],
    ['controlnet_units', "{'enabled': True, 'model': 'control_openpose-fp16', 'weight': 1.0, 'preprocessor': 'openpose_full'}"]
  ], pose)
  t.match({ status, body }, { status: 200, body: { status: 'queued', message: 'ControlNet generation queued successfully' } })
  t.match(await bots.ended(body.job_id), { status: 'completed' })
  t.equal(bots.recorder.generations.at(-1)?.path, '/sdapi/v1/txt2img', 'the upload guides, it is no start')
  const [unit] = unitsOf(lastAsked())
  t.match(unit, {
    enabled: true, model: 'control_openpose-fp16 [9ca67cbd]', module: 'openpose_full', weight: 1, control_mode: 'Balanced', image: /^\/9j\//
  })
  const { body: result } = await get(`/jobs/${String(body.job_id)}/result`)
  t.match(result, { extra_images: [String], warnings: [] }, 'the map proves that it was controlled')
})

t.test('Python: img2img with flat fields', async t => {
  const start = await sharp({ create: { width: 256, height: 256, channels: 3, background: 'teal' } }).jpeg().toBuffer()
  const { status, body } = await postForm('/generate/img2img', [
    ['user_id', 'user123'], ['prompt', 'the same in winter'], ['denoising_strength', '0.5'], ['steps', '2']
  ], start)
  t.equal(status, 200)
  t.match(await bots.ended(body.job_id), { status: 'completed' })
  t.match(lastAsked(), { init_images: [/^\/9j\//], denoising_strength: 0.5, width: 256, height: 256 })
})

t.test('Python: regions', async t => {
  const { status, body } = await post('/generate/regional', {
    user_id: 'user123',
    prompt: 'masterpiece, high quality',
    regional_config: {
      layout: 'three_columns',
      common_prompt: 'fantasy tavern scene',
      region1_prompt: 'knight in armor drinking',
      region2_prompt: 'fireplace with warm lighting',
      region3_prompt: 'bard playing lute'
    },
    width: 768,
    height: 512,
    steps: 25
  })
  t.match({ status, body }, { status: 200, body: { message: 'Regional prompting generation queued successfully' } })
  t.match(await bots.ended(body.job_id), { status: 'completed' })
  const asked = lastAsked()
  t.equal(asked.prompt, 'masterpiece, high quality, fantasy tavern scene ADDCOMM knight in armor drinking ADDCOL ' +
    'fireplace with warm lighting ADDCOL bard playing lute <lora:character_lora:0.8>')
  t.strictSame(Object.values(asked.alwayson_scripts as Record<string, unknown>), [{
    args: [true, false, 'Matrix', 'Columns', 'Mask', 'Prompt', '1,1,1', '0.2', false, true, false, 'Attention', true, '0', '0', '0.4', '', '0', '0', false]
  }])
  t.match((await get(`/jobs/${String(body.job_id)}/result`)).body, { info: { extra_generation_params: { 'RP Active': true } }, warnings: [] })
})

t.test('the whole request of the documentation, as Swift sends it', async t => {
  const swift = { accept: '*/*', 'user-agent': 'Studio/1 CFNetwork/1498.700.2 Darwin/23.6.0', 'accept-language': 'en-US,en;q=0.9' }
  // JSONEncoder writes 7.0 as 7 and leaves nil out.
  const { status, body } = await post('/generate/txt2img', {
    seed: -1,
    user_id: 'user123',
    hr_upscaler: '4x-UltraSharp',
    vae: 'vae-ft-mse-840000-ema-pruned.safetensors',
    batch_size: 1,
    enable_hr: true,
    checkpoint: 'animefull_final.safetensors',
    cfg_scale: 7,
    prompt: 'masterpiece, detailed anime portrait',
    width: 512,
    negative_prompt: 'low quality, blurry',
    steps: 20,
    batch_count: 1,
    hr_scale: 2,
    height: 768,
    sampler_name: 'DPM++ 2M Karras'
  }, { ...swift, 'content-type': 'application/json' })
  t.equal(status, 200)
  t.strictSame(Object.keys(body).filter(name => ['job_id', 'status', 'message', 'estimated_time'].includes(name)).length, 4)
  const job = await bots.ended(body.job_id)
  for (const name of ['job_id', 'status', 'progress', 'eta_relative', 'message', 'created_at', 'completed_at']) t.ok(name in job, name)
  t.match(lastAsked(), { enable_hr: true, hr_scale: 2, hr_upscaler: '4x-UltraSharp', override_settings: { sd_vae: /^vae-ft-mse/ } })
})

t.test('the session of the documentation works as described', async t => {
  const { body } = await bots.request('PUT', '/sessions/user789', {
    active_loras: { 'character_lora.safetensors': 0.8, 'style_lora.safetensors': 0.6 },
    controlnet_configs: [{ model: 'control_openpose-fp16', weight: 1.0, preprocessor: 'openpose_full' }],
    custom_settings: { preferred_sampler: 'DPM++ 2M Karras', default_steps: 3 }
  })
  t.match(body, { session: { user_id: 'user789', active_loras: { 'style_lora.safetensors': 0.6 }, last_updated: /^\d{4}-\d\d-\d\dT[\d:.]+$/ } })
  const { body: accepted } = await post('/generate/txt2img', { user_id: 'user789', prompt: 'cat', width: 64, height: 64 })
  await bots.ended(accepted.job_id)
  t.match(lastAsked(), { prompt: 'cat <lora:character_lora:0.8> <lora:style_lora:0.6>', steps: 3, sampler_name: 'DPM++ 2M' })
  t.match((await bots.request('DELETE', '/sessions/user789/loras/style_lora.safetensors')).body, { message: 'LoRA removed from session' })
  t.match((await bots.request('DELETE', '/sessions/user789/loras')).body, { message: 'All LoRAs cleared from session' })
})

t.test('curl: health, models, LoRAs, documentation', async t => {
  t.match(await get('/health'), { status: 200, body: { status: 'healthy', a1111_status: { status: 'online', webui_version: 'available' }, timestamp: String } })
  const { body: models } = await get('/models')
  t.match(models, { checkpoints: [String], vaes: [String], samplers: [String], upscalers: [String] })
  t.ok((models.checkpoints as string[]).includes('animefull_final'))
  t.match((await get('/loras?search=anime&limit=10')).body, { loras: [{ filename: 'anime_lines.safetensors', tags: ['anime'] }], total: 1 })
  t.match((await post('/loras/scan', undefined)).body, { message: 'Scanned and found 3 LoRAs' })
  t.equal((await get('/docs')).status, 200)
  t.match((await get('/openapi.json')).body, { openapi: /^3/ })
})

t.test('presets and the helpers of ControlNet', async t => {
  const saved = await post('/presets/user123', { name: 'portraits', description: 'mine', config: { steps: 30 } })
  t.match(saved, { status: 200, body: { message: 'Preset saved', preset_id: String } })
  t.match((await get('/presets/user123')).body, { presets: [{ name: 'portraits', description: 'mine', config: { steps: 30 } }] })
  t.match((await bots.request('DELETE', `/presets/user123/${String(saved.body.preset_id)}`)).body, { message: 'Preset deleted' })
  t.match((await get('/controlnet/models')).body, { models: [String] })
})

t.test('the requests that Forge gets for the same', async t => {
  const forge = await startBots(t, { simulator: { flavor: 'forge', controlNetUnits: 10 } })
  const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } }).png().toBuffer()).toString('base64')
  const given = Array.from({ length: 10 }, () => ({ model: 'control_canny-fp16', preprocessor: 'depth', image }))
  const { asked, job } = await forge.generate('/generate/controlnet', { ...small, controlnet_units: given })
  t.match(job, { status: 'completed' })
  const units = unitsOf(asked)
  t.equal(units.length, 10)
  t.match(units[9], { module: 'depth_midas', model: 'control_canny-fp16 [e3fe7712]', control_mode: 'Balanced', image })
  t.match((await forge.request('GET', `/jobs/${String(job.job_id)}/result`)).body, { warnings: [] })
})
