import t from 'tap'
import { onNotices, startService } from '../helper.ts'
import { idOf, open } from './client.ts'

/** The common fields of the requests that were recorded at a real A1111 1.10.1. */
const recorded = {
  prompt: 'a lighthouse at dusk',
  negative_prompt: 'blurry',
  steps: 6,
  width: 64,
  height: 64,
  seed: 123,
  sampler_name: 'Euler a'
}
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='

const textOf = (body: unknown) => typeof body === 'string' ? body : JSON.stringify(body)

/** The type of a value, as far as it matters to a client. */
function shapeOf (value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])]
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shapeOf(inner)]))
}

/** The training metadata of LoRAs is megabytes long, and the routes that pass through leave it out. */
function withoutMetadata (json: unknown): unknown {
  return JSON.parse(JSON.stringify(json), (name, value: unknown) => name === 'metadata' ? {} : value)
}

t.test('requests recorded at A1111 get answers with the server\'s own status, keys and types', async t => {
  const service = await startService(t)
  const scripted = { ...recorded, script_name: 'nope' }
  const requests: ReadonlyArray<readonly [string, string, unknown]> = [
    ['POST', '/sdapi/v1/txt2img', recorded],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, batch_size: 2, n_iter: 2 }],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, enable_hr: true, denoising_strength: 0.5, hr_upscaler: 'Latent' }],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, send_images: false }],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, steps: '6', width: 64.5, somethingElse: 1, styles: null }],
    ['POST', '/sdapi/v1/img2img', { ...recorded, init_images: [png], denoising_strength: 0.5 }],
    ['POST', '/sdapi/v1/img2img', { ...recorded, init_images: [png], mask: png, denoising_strength: 0.5 }],
    ['POST', '/sdapi/v1/img2img', { ...recorded, init_images: [png], include_init_images: true }],
    ['POST', '/sdapi/v1/txt2img', { steps: 'abc' }],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, steps: 0 }],
    ['POST', '/sdapi/v1/txt2img', scripted],
    ['POST', '/sdapi/v1/txt2img', { ...recorded, alwayson_scripts: { nope: { args: [] } } }],
    ['POST', '/sdapi/v1/img2img', recorded],
    ['POST', '/sdapi/v1/img2img', { ...recorded, init_images: ['@@'] }],
    ['POST', '/sdapi/v1/txt2img', '{"prompt": "cut'],
    ['POST', '/sdapi/v1/txt2img', '[1, 2]'],
    ['POST', '/sdapi/v1/options', { nope: 1 }],
    ['POST', '/sdapi/v1/options', { sd_model_checkpoint: 'nope' }],
    ['POST', '/sdapi/v1/options', { CLIP_stop_at_last_layers: 1 }],
    ['POST', '/sdapi/v1/interrupt', {}],
    ['POST', '/sdapi/v1/skip', {}],
    ['POST', '/sdapi/v1/refresh-checkpoints', {}],
    ['GET', '/sdapi/v1/txt2img', undefined],
    ['GET', '/sdapi/v1/nope', undefined],
    ['GET', '/sdapi/v1/progress', undefined],
    ['GET', '/sdapi/v1/options', undefined],
    ['GET', '/sdapi/v1/cmd-flags', undefined],
    ['GET', '/sdapi/v1/memory', undefined],
    ['GET', '/sdapi/v1/scripts', undefined],
    ['GET', '/sdapi/v1/embeddings', undefined],
    ['POST', '/sdapi/v1/png-info', { image: png }],
    ['POST', '/sdapi/v1/extra-single-image', { image: png, upscaling_resize: 2, upscaler_1: 'Lanczos' }],
    ['POST', '/sdapi/v1/interrogate', { image: png, model: 'clip' }],
    ['POST', '/sdapi/v1/png-info', { image: '@@' }],
    ...[
      'samplers', 'schedulers', 'upscalers', 'latent-upscale-modes', 'sd-models', 'sd-vae', 'hypernetworks',
      'face-restorers', 'realesrgan-models', 'prompt-styles', 'script-info', 'extensions', 'loras'
    ].map(name => ['GET', `/sdapi/v1/${name}`, undefined] as const)
  ]
  const ask = async (base: string, [method, path, body]: (typeof requests)[number]) => {
    const response = await fetch(base + path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: textOf(body) })
    })
    return { status: response.status, headers: response.headers, json: await response.json() as unknown }
  }
  for (const request of requests) {
    const own = await ask(service.url, request)
    const real = await ask(service.simulator.url, request)
    const name = request.slice(0, 2).join(' ') + ' ' + (JSON.stringify(request[2]) ?? '').slice(0, 90)
    t.equal(own.status, real.status, name)
    t.match(own.headers.get('content-type'), /^application\/json/)
    t.strictSame(shapeOf(own.json), shapeOf(withoutMetadata(real.json)), name)
  }
})

const plain = await startService(t)

t.test('the answer has A1111\'s image, parameters and info, and the parameters echo the request', async t => {
  const service = plain
  const { body, headers } = await service.request('POST', '/sdapi/v1/txt2img', recorded)
  const real = await (await fetch(`${service.simulator.url}/sdapi/v1/txt2img`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(recorded)
  })).json() as { images: string[], parameters: Record<string, unknown>, info: string }
  t.strictSame(body.images, real.images, 'byte for byte')
  t.strictSame(body.parameters, real.parameters)
  t.equal(Object.keys(body.parameters as object).length, 55)
  const lasting = (info: unknown) =>
    ({ ...JSON.parse(String(info)) as object, job_timestamp: '', subseed: 0, all_subseeds: [] })
  t.strictSame(lasting(body.info), lasting(real.info))
  const job = await service.job(await idOf(service, String(headers.get('x-job-id'))))
  t.match(job, { status: 'completed', source_info: 'sdapi', images: [{ seed: 123 }] })
  t.equal(service.simulator.state().generations.length, 2)
})

t.test('names that no server has are rejected in A1111\'s shape, or left out if the setting says so', async t => {
  const strict = plain
  const wanted = { ...recorded, override_settings: { sd_model_checkpoint: 'nope' } }
  for (const request of [wanted, { ...recorded, sampler_name: 'nope' }]) {
    const { status, body } = await strict.request('POST', '/sdapi/v1/txt2img', request)
    t.equal(status, 422)
    t.strictSame(Object.keys(body), ['error', 'detail', 'body', 'errors'])
    t.match(body.detail, /nope/)
  }
  for (const [request, detail] of [
    [{ ...recorded, override_settings: { sd_model_checkpoint: 'dreamscape-v9' } }, /dreamscape-v8/],
    [{ ...recorded, prompt: '<lora:nowhere:1>' }, /nowhere/],
    [{ ...recorded, override_settings: { api_enable_requests: true } }, /api_enable_requests/]
  ] as const) {
    const { status, body } = await strict.request('POST', '/sdapi/v1/txt2img', request)
    t.equal(status, 422, JSON.stringify(request))
    t.strictSame(Object.keys(body), ['error', 'detail', 'body', 'errors'])
    t.match(body.detail, detail)
  }
  const files = { ...recorded, override_settings: { samples_format: 'jpg', outdir_samples: '/etc' } }
  const drawn = await strict.request('POST', '/sdapi/v1/txt2img', files)
  t.match(drawn, { status: 200, body: { images: [/^iVBORw0KGgo/] } }, 'settings about the server\'s files are left out')
  const address = { ...recorded, init_images: ['http://169.254.169.254/latest'] }
  const fetched = await strict.request('POST', '/sdapi/v1/img2img', address)
  t.ok(fetched.status >= 400, 'an address is not fetched')
  t.strictSame(Object.keys(fetched.body), ['error', 'detail', 'body', 'errors'])
  const kept = await strict.request('POST', '/sdapi/v1/txt2img', { ...recorded, batch_size: 2, save_images: true })
  t.equal((kept.body.images as unknown[]).length, 2, 'no grid beside the images')
  const lenient = await startService(t, { settings: { SDAPI_UNKNOWN_NAMES: 'ignore' } })
  t.equal((await lenient.request('POST', '/sdapi/v1/txt2img', wanted)).status, 200)
})

t.test('if the key says so, the job of a client that hangs up is cancelled', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 40 } })
  const { key, secret } = (await service.request('POST', '/api/v1/api-keys', { name: 'fickle', drop_in: { on_hang_up: 'cancel' } })).body
  const call = await open(service, '/sdapi/v1/txt2img', { ...recorded, steps: 100 }, {
    'x-api-key': String(key), 'x-api-secret': String(secret), prefer: 'early-job-id'
  })
  const id = await idOf(service, call.jobId)
  await service.until(id, 'processing')
  call.cut()
  t.equal((await service.until(id, 'cancelled', 'completed')).status, 'cancelled')
  await onNotices(service.services, async () => service.simulator.state().interrupts > 0 || undefined)
})
