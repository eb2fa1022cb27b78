import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startService } from '../helper.ts'
import { testImage, small, startBots } from './studio.ts'

t.test('the rules of an application\'s owner apply to its users', async t => {
  const bots = await startBots(t, {
    simulator: { stepMilliseconds: 10 },
    settings: {
      STUDIO_JOBS_PER_USER: '1',
      STUDIO_COOLDOWN_SECONDS: '3600',
      STUDIO_EXEMPT_USERS: 'vip',
      STUDIO_BLOCKED_WORDS: 'blood, dark magic',
      STUDIO_MAX_MEGAPIXELS: '0.0625',
      STUDIO_BATCH_LIMIT: '3'
    }
  })
  const { request } = bots
  const post = async (fields: object) => await request('POST', '/generate/txt2img', { ...small, ...fields })

  await t.test('a user has one generation at a time and a pause after it; other users do not wait', async t => {
    const many = await Promise.all(Array.from({ length: 4 }, () => post({ steps: 60 })))
    t.same(many.map(({ status }) => status).toSorted((one, other) => one - other), [200, 429, 429, 429])
    const refused = many.find(({ status }) => status === 429)
    t.match(refused?.body, { detail: /has 1 unfinished generations and can have 1/ })
    t.equal((await post({ user_id: 'bob' })).status, 200)
    const running = many.find(({ status }) => status === 200)?.body.job_id
    await request('POST', `/jobs/${String(running)}/cancel`)
    t.match(await bots.ended(running), { status: 'failed', message: 'cancelled' })
    const cooling = await post({})
    t.equal(cooling.status, 429)
    t.match(cooling.body, { detail: /wait \d+ s/ })
    t.ok(Number(cooling.headers.get('retry-after')) > 3000)
    t.equal((await post({ user_id: 'vip' })).status, 200)
    t.equal((await post({ user_id: 'vip' })).status, 200)
  })

  await t.test('a rejected request uses no slot', async t => {
    t.equal((await post({ user_id: 'carl', checkpoint: 'nothing' })).status, 422)
    t.equal((await post({ user_id: 'carl' })).status, 200)
  })

  await t.test('blocked words are whole words, in any case, in regions too', async t => {
    const refused = async (fields: object) => (await post({ user_id: 'vip', ...fields })).body.detail
    t.match(await refused({ prompt: 'a Blood moon' }), [{ type: 'blocked_word', loc: ['body', 'prompt'], msg: /"blood"/ }])
    t.match(await refused({ prompt: '(dark_magic:1.2)' }), [{ type: 'blocked_word' }])
    t.equal((await post({ user_id: 'vip', prompt: 'a bloodhound, negative words are free', negative_prompt: 'blood' })).status, 200)
    const regions = await request('POST', '/generate/regional', {
      ...small, user_id: 'vip', regional_config: { layout: 'vertical', region1_prompt: 'blood', region2_prompt: 'sky' }
    })
    t.match(regions.body.detail, [{ type: 'blocked_word' }])
  })

  await t.test('sizes are reduced in proportion, with a warning', async t => {
    const { asked, answer, job } = await bots.generate('/generate/txt2img', { ...small, user_id: 'vip', width: 1024, height: 512 })
    t.match(asked, { width: 352, height: 176 })
    t.match(answer.warnings, [{ code: 'size_reduced', field: 'width' }])
    const { body: { warnings } } = await request('GET', `/jobs/${String(job.job_id)}/result`)
    t.same(warnings, answer.warnings, 'with the image too')
    const image = await testImage(800, 200)
    const from = await bots.generate('/generate/img2img', { user_id: 'vip', prompt: '', steps: 1, image })
    t.match(from.asked, { width: 496, height: 120 })
  })

  await t.test('a name is one user in every spelling', async t => {
    const spellings = ['zo\u00eb', ' zo\u00eb', 'zo\u00eb\t', 'zoe\u0308']
    const answers = await Promise.all(spellings.map(async spelling => await post({ user_id: spelling })))
    t.same(answers.map(({ status }) => status).toSorted((one, other) => one - other), [200, 429, 429, 429])
    for (const spelling of spellings) {
      const { body } = await request('GET', `/sessions/${encodeURIComponent(spelling)}/jobs`)
      t.match(body, { total: 1 }, JSON.stringify(spelling))
    }
    t.match(await request('POST', '/generate/batch', { user_id: ' zoe\u0308 ', base_request: { prompt: 'x', steps: 1 } }), { status: 429 })
    t.equal((await post({ user_id: ' ' })).status, 422)
  })

  await t.test('a batch is one request, with as many jobs as are allowed', async t => {
    const { user_id: _, ...base } = small
    const batch = async (user: string, values: number[]) => await request('POST', '/generate/batch', {
      user_id: user, base_request: base, axes: [{ field: 'seed', values }]
    })
    t.equal((await batch('dora', [1, 2, 3])).status, 200)
    t.equal((await batch('dora', [1])).status, 429)
    t.match((await batch('emil', [1, 2, 3, 4])).body.detail, [{ loc: ['body', 'axes'], msg: /at most 3/ }])
  })
})

t.test('Forge gets its own parameters', async t => {
  const bots = await startBots(t, { simulator: { flavor: 'forge' } })
  const { asked } = await bots.generate('/generate/txt2img', {
    ...small, vae: 'Automatic', enable_hr: true, cfg_scale: 5, sampler_name: 'Euler a', checkpoint: 'anime-pastel'
  })
  t.match(asked, {
    hr_cfg: 5,
    hr_additional_modules: ['Use same choices'],
    override_settings: { forge_additional_modules: [], sd_model_checkpoint: /^anime-pastel/ }
  })
  t.notOk('sd_vae' in (asked.override_settings as object))
  const image = await testImage(64, 64)
  const units = await bots.generate('/generate/controlnet', {
    ...small, image, controlnet_units: [{ model: 'control_v11p_sd15_canny', preprocessor: 'canny', control_mode: 2 }]
  })
  t.match(units.asked.alwayson_scripts, {
    controlnet: { args: [{ enabled: true, module: 'canny', control_mode: 'ControlNet is more important', image }] }
  })
  t.equal(units.job.status, 'completed')
})

t.test('an error names the field that the server cannot serve', async t => {
  const { request } = await startBots(t, { simulator: { controlNet: false, regionalPrompter: false } })
  const image = await testImage(64, 64)
  const units = await request('POST', '/generate/controlnet', { ...small, image, controlnet_units: [{ model: 'canny' }] })
  t.match(units, { status: 422, body: { detail: [{ type: 'script_not_found', loc: ['body', 'controlnet_units'] }] } })
  const regional = await request('POST', '/generate/regional', {
    ...small, regional_config: { layout: 'vertical', region1_prompt: 'a', region2_prompt: 'b' }
  })
  t.match(regional, { status: 422, body: { detail: [{ type: 'script_not_found', loc: ['body', 'regional_config'] }] } })
})

t.test('LoRAs are looked up at the named server, or at all of them', async t => {
  const [one, other] = await Promise.all([['film-grain'], ['only-here']].map(async loras => await startSimulator({ loras })))
  t.teardown(async () => { await Promise.all([one?.close(), other?.close()]) })
  const service = await startService(t, { servers: { One: one?.url ?? '', Other: other?.url ?? '' } })
  await service.request('POST', '/sessions/ann/loras', { filename: 'film-grain', weight: 1 })
  const post = async (fields: object) => await service.request('POST', '/generate/txt2img', { ...small, ...fields })
  t.match(await post({ loras: ['only-here'], server: 'One' }), {
    status: 422, body: { detail: [{ type: 'model_not_found', loc: ['body', 'loras'], msg: /The server One has no LoRA "only-here"/ }] }
  })
  t.match(await post({ loras: ['only-here'], server: 'other' }), {
    status: 200, body: { warnings: [{ code: 'session_lora_left_out', message: /The server Other has no LoRA film-grain/ }] }
  })
  t.match(await post({}), { status: 200, body: { warnings: [] } })
  t.match((await post({ loras: ['nowhere'] })).body.detail, [{ msg: /No server has the LoRA "nowhere"/ }])
})

t.test('phones get the models of all servers, and whether one answers', async t => {
  const bots = await startBots(t)
  t.match((await bots.request('GET', '/models')).body, {
    checkpoints: ['dreamscape-v8', 'realistic-vision-v6', 'anime-pastel', /juggernaut-xl$/],
    vaes: ['Automatic', 'None'],
    samplers: Array,
    upscalers: Array
  })
  t.match((await bots.request('GET', '/health')).body, {
    status: 'healthy', a1111_status: { status: 'online', webui_version: 'available', Main: 'online' }, timestamp: /T[\d:]+\.\d{6}$/
  })
  for (const [path, target] of [['/redoc', '/docs'], ['/docs/oauth2-redirect', '/docs/static/oauth2-redirect.html']] as const) {
    t.equal((await fetch(bots.url + path)).url, bots.url + target)
  }
})
