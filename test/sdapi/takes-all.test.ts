import t from 'tap'
import { quick, startService, type JobBody } from '../helper.ts'
import { base64, call, type Fields, type Generation } from './client.ts'

const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='

t.test('the drop-in in front of an A1111', async t => {
  const service = await startService(t, { settings: { RETRY_BACKOFF_SECONDS: '0.05', SDAPI_EARLY_JOB_ID: 'off' } })
  const { url: direct } = service.simulator
  const post = async (base: string, path: string, body: unknown) => {
    const answer = await fetch(base + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body)
    })
    return { status: answer.status, json: await answer.json() as Fields }
  }
  const lastJob = async () => ((await service.request('GET', '/api/v2/jobs?limit=1')).body.jobs as JobBody[])[0]
  const warningsOfLast = async () =>
    (await service.job(String((await lastJob())?.id))).warnings as Array<{ code: string, field: string }>

  await t.test('fills in the parameters that an infotext implies, and warns', async t => {
    const infotext = 'a harbour\nNegative prompt: fog\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, ' +
      'Seed: 77, Size: 64x128, Model: other, Denoising strength: 0.4, Hires upscale: 2, Hires upscaler: Latent'
    for (const [text, more] of [[infotext, {}], [`${infotext}, Clip skip: 2, RNG: CPU`, { steps: 2, cfg_scale: 4 }]] as const) {
      const body = { infotext: text, ...more }
      const [there, here] = [await post(direct, '/sdapi/v1/txt2img', body), await post(service.url, '/sdapi/v1/txt2img', body)]
      t.equal(here.status, 200)
      t.same(here.json.parameters, there.json.parameters, JSON.stringify(more))
      t.match(here.json.parameters, { prompt: 'a harbour', seed: 77, width: 64, height: 128, enable_hr: true })
    }
    const fromImage = { infotext, init_images: [png] }
    const there = await post(direct, '/sdapi/v1/img2img', fromImage)
    const here = await post(service.url, '/sdapi/v1/img2img', fromImage)
    t.same(here.json.parameters, there.json.parameters)
    const drawn = JSON.parse(String(here.json.info)) as Fields
    t.match(drawn, { prompt: '', seed: 77, steps: 3, width: 512, cfg_scale: 7, sampler_name: 'DPM++ 2M' }, 'with a start image, no prompt and no size')
    await post(service.url, '/sdapi/v1/txt2img', { infotext })
    const { override_settings: sent } = (await service.job(String((await lastJob())?.id))).generation_params as Fields
    t.match(sent, { CLIP_stop_at_last_layers: 1, randn_source: 'GPU' }, 'also what it says by silence')
  })

  await t.test('generates with styles that are empty or that the server does not have', async t => {
    for (const styles of [['None'], ['none'], [''], [null], ['None', 'Cinematic'], []] as ReadonlyArray<ReadonlyArray<string | null>>) {
      const { status, json } = await post(service.url, '/sdapi/v1/txt2img', { ...quick, styles })
      t.equal(status, 200, JSON.stringify(styles))
      t.same((await warningsOfLast()).map(({ code }) => code), [], 'which is no reason to warn')
      const { prompt } = JSON.parse(String(json.info)) as Fields
      t.equal(prompt, styles.includes('Cinematic') ? 'cinematic still of a lighthouse, film grain, shallow depth of field' : quick.prompt)
    }
    t.equal((await post(service.url, '/sdapi/v1/txt2img', { ...quick, styles: ['Cinematik'] })).status, 200)
    t.match(await warningsOfLast(), [{ code: 'style_not_found', field: 'styles.0', message: /Cinematic/ }])
    const ours = await service.submit({ ...quick, styles: ['Cinematik', 'None', ''] })
    t.match(await service.until(ours, 'completed'), { warnings: [{ code: 'style_not_found', field: 'generation_params.styles.0' }] })
  })

  await t.test('accepts A1111\'s own words for nothing', async t => {
    const plain = (await post(service.url, '/sdapi/v1/txt2img', { ...quick, seed: 1 })).json
    const wordless = await post(service.url, '/sdapi/v1/txt2img', {
      ...quick,
      seed: 1,
      sampler_name: 'Automatic',
      scheduler: 'Automatic',
      script_name: 'None',
      refiner_checkpoint: 'None',
      override_settings: { sd_vae: 'Automatic', sd_hypernetwork: 'None', sd_unet: 'Automatic', sd_lora: 'None', sd_model_checkpoint: 'None' }
    })
    t.equal(wordless.status, 200)
    t.same(wordless.json.images, plain.images)
    for (const nothing of ['None', 'none', 'Automatic', 'Use same sampler', '', ' ']) {
      const [older, own] = [{ sampler_index: nothing }, { sampler_name: nothing }]
      for (const names of [older, own, { ...older, ...own }]) {
        const { json } = await post(service.url, '/sdapi/v1/txt2img', { ...quick, ...names })
        t.equal((JSON.parse(String(json.info)) as Fields).sampler_name, 'Euler', JSON.stringify(names))
      }
    }
    for (const script of [{}, null, { args: [] }, { args: null }]) {
      const { status } = await post(service.url, '/sdapi/v1/txt2img', { ...quick, alwayson_scripts: { nope: script } })
      t.equal(status, 422, `a script that the server does not have: ${JSON.stringify(script)}`)
      const known = await post(service.url, '/sdapi/v1/txt2img', { ...quick, alwayson_scripts: { Refiner: script } })
      t.equal(known.status, 200, JSON.stringify(script))
    }
    const hires = { ...quick, seed: 1, enable_hr: true, denoising_strength: 0.5 }
    const twice = (await post(service.url, '/sdapi/v1/txt2img', hires)).json
    const same = await post(service.url, '/sdapi/v1/txt2img', {
      ...hires, hr_sampler_name: 'Use same sampler', hr_scheduler: 'Use same scheduler', hr_checkpoint_name: 'Use same checkpoint'
    })
    t.equal(same.status, 200)
    t.same(same.json.images, twice.images)
    t.equal((await post(service.url, '/sdapi/v1/txt2img', { ...hires, hr_upscaler: 'None' })).status, 200)
  })

  await t.test('passes on every number that the server itself checks, with its status and body', async t => {
    const image = { init_images: [png] }
    const values: Array<[path: string, Fields]> = [
      ['txt2img', { s_tmax: 1e308 }], ['txt2img', { steps: 151 }], ['txt2img', { s_noise: 2.5 }], ['txt2img', { eta: 3 }],
      ['txt2img', { denoising_strength: 1.5 }], ['txt2img', { cfg_scale: -1 }], ['txt2img', { subseed: 9, subseed_strength: 1.5 }],
      ['txt2img', { refiner_switch_at: 4 }], ['txt2img', { seed: -5 }], ['txt2img', { seed_resize_from_w: -7, seed_resize_from_h: 5000 }],
      ['txt2img', { enable_hr: true, denoising_strength: 0.3, hr_scale: 9 }], ['txt2img', { width: 4104, height: 8 }],
      ['txt2img', { s_min_uncond: -3, s_churn: 1e9, s_tmin: -1 }], ['txt2img', { width: 100, height: 70 }],
      ['img2img', { ...image, mask_blur: 5000, inpaint_full_res_padding: -4, resize_mode: 1 }],
      ['img2img', { ...image, denoising_strength: 7, image_cfg_scale: -2, initial_noise_multiplier: 99 }],
      // These make the server fail.
      ['txt2img', { width: 0 }], ['txt2img', { height: -64 }], ['txt2img', { batch_size: 0 }], ['txt2img', { n_iter: -2 }],
      ['txt2img', { steps: 0 }], ['txt2img', { steps: -3 }], ['img2img', { ...image, denoising_strength: -1 }],
      ['img2img', { init_images: [] }], ['img2img', { init_images: [png, png, png], batch_size: 2 }], ['img2img', {}]
    ]
    for (const [path, fields] of values) {
      const body = { ...quick, seed: 3, ...fields }
      const [there, here] = [await post(direct, `/sdapi/v1/${path}`, body), await post(service.url, `/sdapi/v1/${path}`, body)]
      const what = `${path} ${JSON.stringify(fields).slice(0, 100)}`
      t.equal(here.status, there.status, what)
      const { info: said = '{}', ...rest } = here.json as { info?: string }
      const { info: infoText = '{}', ...others } = there.json as { info?: string }
      t.same(rest, others, what)
      const { job_timestamp: _then, all_subseeds: _drawn, subseed: _one, ...known } = JSON.parse(infoText) as Fields
      t.match(JSON.parse(said), known, `${what}: info`)
    }
  })

  await t.test('accepts seeds up to 64 bits, and rejects larger ones as the server does', async t => {
    for (const [seed, status] of [['18446744073709551615', 200], ['-9223372036854775808', 200], ['18446744073709551616', 500]] as const) {
      const body = `${JSON.stringify(quick).slice(0, -1)},"seed":${seed}}`
      const answer = await fetch(`${service.url}/sdapi/v1/txt2img`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
      const text = await answer.text()
      t.equal(answer.status, status, seed)
      t.match(text, status === 200 ? `"seed":${seed},` : 'Overflow when unpacking long')
    }
    const { json } = await post(service.url, '/sdapi/v1/txt2img', { ...quick, seed: 1, subseed: 9, subseed_strength: 0 })
    t.equal((JSON.parse(String(json.info)) as Fields).subseed, 9, 'a subseed without effect is named all the same')
  })

  await t.test('leaves out settings that change no image, with a warning', async t => {
    const settings = {
      enable_pnginfo: false,
      return_grid: true,
      show_progress_every_n_steps: 2,
      samples_save: false,
      grid_save: false,
      add_model_hash_to_info: false,
      filter_nsfw: false,
      samples_format: 'jpg',
      not_an_option: 3,
      outdir_samples: '/etc'
    }
    t.equal((await post(service.url, '/sdapi/v1/txt2img', { ...quick, override_settings: { ...settings, CLIP_stop_at_last_layers: 99 } })).status, 200)
    const warnings = await warningsOfLast()
    for (const name of Object.keys(settings)) {
      t.ok(warnings.some(({ code, field }) => code === 'override_setting_ignored' && field.endsWith(`override_settings.${name}`)), name)
    }
    t.ok(warnings.some(({ code, field }) => code === 'outside_usual_range' && field.endsWith('CLIP_stop_at_last_layers')))
    const { not_an_option: _unknown, outdir_samples: _folder, ...harmless } = settings
    await service.until(await service.submit({ ...quick, override_settings: harmless }), 'completed')
    t.match(await service.request('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: { ...quick, override_settings: { outdir_samples: '/etc' } }
    }), { status: 422, body: { error: 'unsupported_parameter' } })
  })

  await t.test('leaves prompts as clients write them', async t => {
    const lora = service.simulator.state
    t.ok(lora)
    const lists = (await call<Array<{ name: string, alias: string }>>(service, 'GET', '/sdapi/v1/loras')).json
    const aliased = lists.find(({ name, alias }) => alias !== name && alias !== '')
    const prompt = `  a lighthouse <lora:${aliased?.alias ?? lists[0]?.name}:0.5> `
    const { json } = await post(service.url, '/sdapi/v1/txt2img', { ...quick, prompt })
    t.equal((JSON.parse(String(json.info)) as Fields).prompt, prompt)
    t.equal((json.parameters as Fields).prompt, prompt)
  })

  await t.test('answers extras, interrogate and png-info with the server\'s own answer', async t => {
    const calls: Array<[string, unknown]> = [
      ['extra-single-image', { image: png, upscaling_resize: 0 }], ['extra-single-image', { image: png, upscaler_1: 'nope' }],
      ['extra-single-image', { image: png, gfpgan_visibility: 'much', resize_mode: 3 }], ['extra-single-image', {}],
      ['extra-single-image', { image: '@@' }], ['extra-single-image', '[1]'], ['extra-single-image', 'null'],
      ['extra-batch-images', {}], ['extra-batch-images', { imageList: 'x' }], ['extra-batch-images', { imageList: [{ name: 'a' }] }],
      ['extra-batch-images', { imageList: [{ data: '', name: 'a' }] }],
      ['interrogate', { image: png, model: 'nope' }], ['interrogate', { image: '' }], ['interrogate', {}],
      ['png-info', {}], ['png-info', { image: '' }], ['png-info', { image: null }], ['png-info', { image: 7 }], ['png-info', '"x"'],
      ['png-info', { image: png }], ['extra-single-image', { image: png, upscaler_1: 'Lanczos', upscaler_2: 'None' }]
    ]
    for (const [path, body] of calls) {
      const [there, here] = [await post(direct, `/sdapi/v1/${path}`, body), await post(service.url, `/sdapi/v1/${path}`, body)]
      t.same(here, there, `${path} ${JSON.stringify(body).slice(0, 80)}`)
    }
  })

  await t.test('needs no credentials on this machine, whatever a client sends as such', async t => {
    const odd = [
      `Basic ${base64('None:None')}`, `Basic ${base64('user:')}`, `Basic ${base64('admin:hunter2')}`, 'Bearer x', 'Bearer', 'Basic',
      'Basic !!!', 'Token abc', 'Digest username="x"', `Bearer ${'a'.repeat(2000)}`, `Bearer ${'a'.repeat(64)}`,
      `Basic ${base64(`user:${'0'.repeat(64)}`)}`
    ]
    for (let round = 0; round < 2; round++) {
      for (const authorization of odd) {
        t.equal((await call(service, 'GET', '/sdapi/v1/options', undefined, { authorization })).status, 200, authorization.slice(0, 40))
      }
    }
    const made = (await service.request('POST', '/api/v1/api-keys', { name: 'bot' })).body
    const { key, secret } = made as Record<string, string>
    const { id } = made.api_key as Record<string, string>
    const own = { authorization: `Basic ${base64(`${key}:${secret}`)}` }
    const alone = { authorization: `Basic ${base64(`any:${secret}`)}` }
    t.equal((await call(service, 'GET', '/sdapi/v1/options', undefined, own)).status, 200)
    t.equal((await service.request('PUT', `/api/v1/api-keys/${id}`, { is_active: false })).status, 200)
    for (const headers of [own, alone, { authorization: `Bearer ${secret}` }, { 'x-api-key': String(key), 'x-api-secret': 'wrong' }]) {
      t.equal((await call(service, 'GET', '/sdapi/v1/options', undefined, headers as Record<string, string>)).status, 401, `a key that was switched off is refused: ${Object.values(headers).join(' ').slice(0, 12)}`)
    }
    for (const authorization of odd.slice(0, 4)) {
      t.equal((await service.request('GET', '/api/v2/jobs', undefined, { authorization })).status, 401, 'elsewhere they are wrong')
    }
  })
})

t.test('rejects wrong credentials if AUTH_TOKEN is set', async t => {
  const service = await startService(t, { settings: { AUTH_TOKEN: 'a-token-of-sixteen' }, worker: 'none' })
  for (const authorization of [`Basic ${base64('None:None')}`, `Basic ${base64('user:')}`, 'Bearer x']) {
    t.match(await call(service, 'GET', '/sdapi/v1/options', undefined, { authorization }), { status: 401, json: { error: 'HTTPException' } })
  }
  t.equal((await call(service, 'GET', '/sdapi/v1/options', undefined, { authorization: 'Bearer a-token-of-sixteen' })).status, 200)
  t.equal((await call<Generation>(service, 'GET', '/sdapi/v1/options')).status, 200)
})

t.test('a job with extreme values finishes once, and its successors do not get extreme estimates', async t => {
  const service = await startService(t, { settings: { JOB_TIMEOUT_SECONDS: '1' } })
  await service.until(await service.submit(quick), 'completed')
  const endless = await service.submit({ ...quick, steps: 9_000_000_000_000_000, s_tmax: 1e308, cfg_scale: -1e300 })
  const behind = await service.submit(quick)
  const listed = await service.request('GET', '/api/v2/jobs')
  t.equal(listed.status, 200)
  for (const job of listed.body.jobs as JobBody[]) {
    t.ok(Number(job.eta_seconds ?? 0) <= 2 * 86_400, `${job.id} has an end in sight`)
  }
  t.match(await service.until(endless, 'failed', 'completed', 'cancelled'), { status: 'failed', error: { code: 'deadline_passed' } })
  t.match(await service.until(behind, 'completed', 'failed'), { status: 'completed' })
})
