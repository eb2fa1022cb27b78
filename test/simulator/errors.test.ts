import t from 'tap'
import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { request } from 'undici'
import { infoOf, small, startBench, type Json } from './client.ts'

t.test('A1111 words each kind of mistake in its own way', async t => {
  const bench = await startBench(t)
  const [image] = (await bench.txt2img()).json.images as [string]
  const img2img = { path: '/sdapi/v1/img2img' }
  const cases: ReadonlyArray<[request: Json, status: number, body: Json, where?: { path: string }]> = [
    [{ steps: 'abc' }, 422, {
      detail: [{ loc: ['body', 'steps'], msg: 'value is not a valid integer', type: 'type_error.integer' }]
    }],
    [{ override_settings: 'x', send_images: null }, 422, {
      detail: [
        { loc: ['body', 'override_settings'], msg: 'value is not a valid dict', type: 'type_error.dict' },
        { loc: ['body', 'send_images'], msg: 'none is not an allowed value', type: 'type_error.none.not_allowed' }
      ]
    }],
    [{ styles: ['a', []] }, 422, { detail: [{ loc: ['body', 'styles', 1], msg: 'str type expected', type: 'type_error.str' }] }],
    [{ script_name: 'nope' }, 422, { error: 'HTTPException', detail: "Script 'nope' not found", body: '', errors: '' }],
    [{ alwayson_scripts: { nope: { args: [] } } }, 422,
      { error: 'HTTPException', detail: "Script 'nope' not found", body: '', errors: '' }],
    [{}, 404, { error: 'HTTPException', detail: 'Init image not found', body: '', errors: '' }, img2img],
    [{ init_images: ['@@'] }, 500, { error: 'HTTPException', detail: 'Invalid encoded image', body: '', errors: '' }, img2img],
    [{ init_images: ['http://127.0.0.1/x.png'] }, 500,
      { error: 'HTTPException', detail: 'Request to local resource not allowed', body: '', errors: '' }, img2img],
    [{ init_images: [] }, 500, { error: 'RuntimeError', detail: '', body: '' }, img2img],
    [{ init_images: [image, image, image], batch_size: 2 }, 500,
      { error: 'RuntimeError', errors: 'bad number of images passed: 3; expecting 2 or less' }, img2img],
    [{ steps: 0 }, 500,
      { error: 'ZeroDivisionError', detail: '', body: '', errors: 'integer division or modulo by zero' }],
    [{ steps: -1 }, 500, { error: 'RuntimeError' }],
    [{ width: 0 }, 500, { error: 'RuntimeError' }],
    [{ batch_size: 0 }, 500, { error: 'IndexError' }],
    [{ n_iter: 0 }, 500, { error: 'IndexError' }],
    [{ prompt: null }, 500, { error: 'AssertionError', errors: '' }],
    [{ enable_hr: true }, 500, { error: 'TypeError' }],
    [{ enable_hr: true, denoising_strength: 0.5, hr_upscaler: 'nope' }, 500,
      { error: 'Exception', errors: 'could not find upscaler named nope' }],
    [{ enable_hr: true, denoising_strength: 0.5, hr_checkpoint_name: 'nope' }, 500,
      { error: 'Exception', errors: 'Could not find checkpoint with name nope' }],
    [{ override_settings: { not_an_option: 1 } }, 500, { error: 'KeyError', errors: "'not_an_option'" }]
  ]
  for (const [change, status, body, where] of cases) {
    const reply = await bench.post(where?.path ?? '/sdapi/v1/txt2img', small(change))
    t.equal(reply.status, status, JSON.stringify(change).slice(0, 60))
    t.match(reply.json, body)
  }
  t.equal((await bench.txt2img()).status, 200, 'the lock is free after all of them')
})

t.test('bodies are read as FastAPI reads them', async t => {
  const bench = await startBench(t)
  const post = async (body: string, type = 'application/json'): Promise<Json> =>
    (await bench.post('/sdapi/v1/txt2img', body, { 'content-type': type })).json
  t.same(await post(''), { detail: [{ loc: ['body'], msg: 'field required', type: 'value_error.missing' }] })
  t.same(await post('{}', 'text/plain'), { detail: [{ loc: ['body'], msg: 'value is not a valid dict', type: 'type_error.dict' }] })
  t.match(await post('{"steps": }'), {
    detail: [{ loc: ['body', 10], type: 'value_error.jsondecode', ctx: { msg: 'Expecting value', pos: 10, lineno: 1, colno: 11 } }]
  })
  for (const [body, message, position] of [
    ['{', 'Expecting property name enclosed in double quotes', 1],
    ['{"a" 1}', "Expecting ':' delimiter", 5],
    ['{"a": 1 "b": 2}', "Expecting ',' delimiter", 8],
    ['{"a": "b', 'Unterminated string starting at', 6],
    ['{} x', 'Extra data', 3]
  ] as const) {
    t.match(await post(body), { detail: [{ loc: ['body', position], ctx: { msg: message, doc: body } }] })
  }
  t.match(await post('[1]'), { detail: [{ loc: ['body'], type: 'type_error.dict' }] })
  t.equal(infoOf(await bench.txt2img({ steps: 3.7, width: '72' })).steps, 3, 'fractions are cut off')
  t.same((await bench.post('/sdapi/v1/interrupt', '', { 'content-type': 'application/json' })).json, {}, 'no body is needed')
})

t.test('Forge words them in its own way, and is strict about whole numbers', async t => {
  const bench = await startBench(t, { flavor: 'forge' })
  t.match((await bench.txt2img({ steps: 'abc' })).json, {
    detail: [{
      type: 'int_parsing',
      loc: ['body', 'steps'],
      msg: 'Input should be a valid integer, unable to parse string as an integer',
      input: 'abc',
      url: /^https:\/\/errors\.pydantic\.dev\/2/
    }]
  })
  t.match((await bench.txt2img({ steps: 20.5 })).json, { detail: [{ type: 'int_from_float' }] })
  t.match((await bench.post('/sdapi/v1/txt2img', '{')).json, { detail: [{ type: 'json_invalid', loc: ['body', 1] }] })
  t.match((await bench.post('/sdapi/v1/txt2img', '')).json, { detail: [{ type: 'missing', loc: ['body'] }] })
  t.same((await bench.txt2img({ script_name: 'nope' })).json, { detail: "Script 'nope' not found" })
  const crashed = await bench.txt2img({ steps: 0 })
  t.same([crashed.status, crashed.json],
    [500, { error: 'ZeroDivisionError', detail: '', body: '', message: 'integer division or modulo by zero' }])
  t.equal((await bench.txt2img({ enable_hr: true, denoising_strength: 0.5 })).json.error, 'TypeError')
  const hires = { enable_hr: true, denoising_strength: 0.5, hr_additional_modules: ['Use same choices'] }
  const made = await bench.txt2img(hires)
  t.equal(made.status, 200)
  t.match(made.json.parameters, { distilled_cfg_scale: 3.5, hr_cfg: 1 })
  t.notOk(made.headers.has('x-process-time'))
  t.match((await bench.get('/sdapi/v1/options')).json, { forge_preset: 'sd', forge_additional_modules: [] })
  t.equal((await bench.get('/sdapi/v1/sd-vae')).status, 404)
  t.match(JSON.parse((await bench.get('/sdapi/v1/sd-modules')).text), [{ model_name: String, filename: String }])
  t.equal((await bench.post('/sdapi/v1/options', { sd_model_checkpoint: 'anime-pastel' })).status, 200)
  t.equal(bench.simulator.state().checkpointLoads, 0, 'the load is left to the next generation')
  t.equal(infoOf(await bench.txt2img()).sd_model_name, 'anime-pastel')
})

t.test('sd.cpp has few routes and words of its own', async t => {
  const bench = await startBench(t, { flavor: 'sdcpp', checkpoints: ['turbo.safetensors'] })
  for (const path of ['progress', 'memory', 'sd-vae', 'scripts']) t.equal((await bench.get(`/sdapi/v1/${path}`)).status, 404, path)
  t.equal((await bench.post('/sdapi/v1/interrupt')).status, 404)
  t.not((await bench.post('/sdapi/v1/options', {})).status, 200)
  t.match(await bench.post('/sdapi/v1/txt2img', { steps: 1 }), { status: 400, json: { error: 'prompt required' } })
  t.match(await bench.post('/sdapi/v1/txt2img', { prompt: 'x', steps: 'x' }), { status: 500, json: { error: 'server_error', message: String } })
  t.match(JSON.parse((await bench.get('/sdapi/v1/sd-models')).text), [{ title: 'turbo', hash: '8888888888' }])
  const made = await bench.post('/sdapi/v1/txt2img', small({ batch_size: 2, n_iter: 3, override_settings: { sd_model_checkpoint: 'x' } }))
  t.equal((made.json.images as string[]).length, 2, 'n_iter means nothing here')
  t.match(infoOf(made), { sampler_name: 'euler_a', version: 'stable-diffusion.cpp', sd_model_name: 'turbo', all_seeds: [123, 124] })
  t.match(made.json.parameters, { n_iter: 3 }, 'the request comes back as it was')
})

t.test('--api-auth guards /sdapi only, and rejects in three ways', async t => {
  const bench = await startBench(t, { auth: 'user:secret,other:word' })
  const as = async (authorization?: string): Promise<unknown> => {
    const reply = await bench.get('/sdapi/v1/options', authorization === undefined ? {} : { authorization })
    if (reply.status === 401) t.notOk(reply.headers.has('www-authenticate'))
    return reply.status === 200 ? 200 : reply.json.detail
  }
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`
  t.equal(await as(), 'Not authenticated')
  t.equal(await as('Bearer x'), 'Not authenticated')
  t.equal(await as('Basic '), 'Invalid authentication credentials')
  t.equal(await as(basic('user')), 'Invalid authentication credentials')
  t.equal(await as(basic('user:wrong')), 'Incorrect username or password')
  t.equal(await as(basic('user:secret')), 200)
  t.equal(await as(basic('other:word')), 200)
  for (const path of ['/sdapi/v1/loras', '/internal/ping', '/controlnet/version', '/openapi.json', '/simulator/about']) {
    t.equal((await bench.get(path)).status, 200, path)
  }
  const flags = await bench.get('/sdapi/v1/cmd-flags', { authorization: basic('user:secret') })
  t.equal(flags.json.api_auth, 'user:secret,other:word', 'the password leaks as it does there')
  const forge = await startBench(t, { auth: 'user:secret', flavor: 'forge' })
  const refused = await forge.get('/sdapi/v1/options')
  t.same([refused.status, refused.json, refused.headers.get('www-authenticate')], [401, { detail: 'Not authenticated' }, 'Basic'])
})

t.test('unknown routes, methods, headers and compression are those of the server', async t => {
  const bench = await startBench(t)
  t.match(await bench.get('/sdapi/v1/nope'), { status: 404, json: { detail: 'Not Found' } })
  t.match(await bench.get('/sdapi/v1/txt2img'), { status: 405, json: { detail: 'Method Not Allowed' } })
  t.ok((await bench.get('/sdapi/v1/samplers')).headers.has('x-process-time'))
  t.ok((await bench.get('/sdapi/v1/nope')).headers.has('x-process-time'))
  t.notOk((await bench.txt2img({ steps: 0 })).headers.has('x-process-time'), 'not on an exception of a handler')
  const options = await request(`${bench.simulator.url}/sdapi/v1/options`, { headers: { 'accept-encoding': 'gzip' } })
  t.equal(options.headers['content-encoding'], 'gzip')
  t.match(JSON.parse(gunzipSync(Buffer.from(await options.body.arrayBuffer())).toString()), { samples_format: 'png' })
  const ping = await request(`${bench.simulator.url}/internal/ping`, { headers: { 'accept-encoding': 'gzip' } })
  t.notOk(ping.headers['content-encoding'], 'small answers are left alone')
  await ping.body.dump()
  const documented = (await bench.get('/openapi.json')).json.paths as Json
  t.ok('/sdapi/v1/txt2img' in documented)
  t.notOk(Object.keys(documented).some(path => path.startsWith('/simulator')))
  t.same((await bench.get('/simulator/about')).json, { simulator: true, flavor: 'a1111', version: '1.10.1' })
  t.equal((await bench.get('/user')).text, 'null', 'what the Photoshop plugin looks for')

  const raw = await new Promise<string>(resolve => {
    const socket = connect(bench.simulator.port, '127.0.0.1', () => { socket.write('GET /internal/ping HTTP/1.1\r\nHost: x\r\n\r\n') })
    socket.once('data', data => {
      resolve(String(data))
      socket.destroy()
    })
  })
  t.notMatch(raw, /keep-alive/i, 'nothing says how long connections live')
})
