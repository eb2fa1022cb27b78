import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import t from 'tap'
import { webuiapiTxt2img } from '../clients/bodies.ts'
import { onNotices, quick, startService, type Service } from '../helper.ts'
import { base64, call, newKey, type Fields, type Generation } from './client.ts'

/** node:http sends headers unchanged, also empty ones. */
async function sendRaw (service: Service, method: string, path: string, headers: Record<string, string>) {
  const request = httpRequest(service.url + path, { method, headers })
  request.end()
  const [answer] = await once(request, 'response') as [IncomingMessage]
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  return { status: answer.statusCode, text }
}

const pngStart = 'iVBORw0KGgo'

const quickOne = await startService(t)

t.test('webuiapi: reads lists at its start, sets a model, sends every field, decodes every image, waits until ready', async t => {
  const service = quickOne
  const { secret } = await newKey(service)
  // The client accepts one user and one password only.
  const auth = { authorization: `Basic ${base64(`user:${secret}`)}` }
  t.match((await call(service, 'GET', '/sdapi/v1/scripts', undefined, auth)).json, { txt2img: Array, img2img: Array })
  const { json: models } = await call<Fields[]>(service, 'GET', '/sdapi/v1/sd-models', undefined, auth)
  const other = models.find(({ model_name: name }) => name === 'anime-pastel')
  t.match(await call(service, 'POST', '/sdapi/v1/options', { sd_model_checkpoint: other?.title }, auth), { status: 200, json: null })
  t.equal((await call(service, 'GET', '/sdapi/v1/options', undefined, auth)).json.sd_model_checkpoint, other?.title)
  const payload = webuiapiTxt2img({
    prompt: 'cute squirrel', negative_prompt: 'ugly', seed: 1003, batch_size: 2, steps: 4, width: 64, height: 64
  })
  const { status, json } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', payload, auth)
  t.equal(status, 200, JSON.stringify(json).slice(0, 300))
  t.equal(json.images.length, 2)
  t.match(JSON.parse(json.info), { sd_model_name: 'anime-pastel', seed: 1003, all_seeds: [1003, 1004] })
  const again = await call<Generation>(service, 'POST', '/sdapi/v1/img2img', { ...payload, init_images: [json.images[0]] }, auth)
  t.equal(again.status, 200)
  const png = await call(service, 'POST', '/sdapi/v1/png-info', { image: json.images[0] }, auth)
  t.match(png.json, { info: /cute squirrel/, items: {}, parameters: { Steps: '4', 'Size-1': '64' } })
  t.match((await call(service, 'GET', '/sdapi/v1/progress', undefined, auth)).json, { progress: 0, state: { job_count: 0 } })
  for (const path of ['interrupt', 'skip', 'refresh-checkpoints']) {
    t.equal((await call(service, 'POST', `/sdapi/v1/${path}`, undefined, auth)).status, 200, path)
  }
  t.notMatch(service.simulator.state().requests, { 'POST /sdapi/v1/options': Number }, 'no server hears of options')
})

t.test('Open WebUI: sends an empty Authorization, and the whole options back with another checkpoint', async t => {
  const service = quickOne
  t.equal((await sendRaw(service, 'GET', '/sdapi/v1/options', { authorization: '' })).status, 200, 'anonymous, from this machine')
  const { key, secret } = await newKey(service)
  const auth = { authorization: `Basic ${base64(`${key}:${secret}`)}` }
  const { json: options } = await call(service, 'GET', '/sdapi/v1/options', undefined, auth)
  t.ok(Object.keys(options).length > 300)
  const { json: models } = await call<Fields[]>(service, 'GET', '/sdapi/v1/sd-models', undefined, auth)
  const title = models.at(-1)?.title
  t.equal((await call(service, 'POST', '/sdapi/v1/options', { ...options, sd_model_checkpoint: title }, auth)).status, 200)
  const own = await service.services.redis.keys(service.services.keys.key('drop-in', 'options', '*'))
  t.strictSame(await service.services.redis.hkeys(own[0] ?? ''), ['sd_model_checkpoint'], 'only what differs becomes its own')
  const { json } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', {
    prompt: 'a castle', batch_size: 1, width: 64, height: 64, steps: 2, negative_prompt: ''
  }, auth)
  t.ok(json.images[0]?.startsWith(pngStart))
  t.match(JSON.parse(json.info), { sd_model_name: 'juggernaut-xl' })
})

/** Its generations last long enough to be watched and interrupted. */
const slow = await startService(t, { simulator: { stepMilliseconds: 30 } })

t.test('SillyTavern: sends a bare Basic and keys of its own in the body, waits for a model, interrupts only its own job', async t => {
  const service = slow
  const auth = { authorization: 'Basic ' }
  t.equal((await sendRaw(service, 'GET', '/sdapi/v1/options', auth)).status, 200)
  for (const list of ['upscalers', 'latent-upscale-modes', 'sd-vae', 'samplers', 'schedulers', 'sd-models']) {
    t.ok(Array.isArray((await call(service, 'GET', `/sdapi/v1/${list}`, undefined, auth)).json), list)
  }
  const model = 'realistic-vision-v6'
  t.equal((await call(service, 'POST', '/sdapi/v1/options', { sd_model_checkpoint: model }, auth)).status, 200)
  t.match((await call(service, 'GET', '/sdapi/v1/progress', undefined, auth)).json, { progress: 0, state: { job_count: 0 } })
  const payload = {
    ...quick,
    url: 'http://localhost:3000/base',
    auth: '',
    save_images: true,
    send_images: true,
    do_not_save_grid: false,
    override_settings: { CLIP_stop_at_last_layers: 2, samples_format: 'png' },
    override_settings_restore_afterwards: true,
    clip_skip: 2
  }
  const { json } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', payload, auth)
  t.ok(json.images[0]?.startsWith(pngStart))
  t.match(JSON.parse(json.info), { sd_model_name: model, clip_skip: 2 })
  const long = call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...payload, steps: 150 }, auth)
  await onNotices(service.services, async () => await service.services.list.count({ status: 'processing' }) > 0 || undefined)
  t.strictSame((await call(service, 'POST', '/sdapi/v1/interrupt', undefined, auth)).json, {})
  const interrupted = await long
  t.equal(interrupted.status, 200)
  t.strictSame(Object.keys(interrupted.json), ['images', 'parameters', 'info'], 'as A1111 answers an interrupted call')
  t.equal(service.simulator.state().generations.at(-1)?.interrupted, true)
})

t.test('SillyTavern drops the path of the configured address and keeps its query', async t => {
  const service = await startService(t, { worker: 'none', settings: { TRUSTED_PROXIES: '127.0.0.1', BOOTSTRAP_API_KEY: '' } })
  const { secret } = (await service.services.accessKeys.create({ name: 'tavern', scopes: ['*'] }))
  const auth = { authorization: `Basic ${base64(`user:${secret}`)}` }
  const configured = new URL(`${service.url}/some/base/path?async=1`)
  configured.pathname = '/sdapi/v1/txt2img'
  const asked = await call(service, 'POST', `${configured.pathname}${configured.search}`, quick, auth)
  t.match(asked, { status: 202, json: { uuid: String } })

  // The service believes the client's address only from a trusted proxy.
  const behind = { ...auth, 'x-forwarded-for': '203.0.113.7' }
  await call(service, 'POST', '/sdapi/v1/txt2img?async=1', quick, behind)
  const ips = async (query: string) =>
    (await call<Fields[]>(service, 'GET', `/sdapi/v1/jobs?${query}`, undefined, auth)).json.map(({ ip }) => ip)
  t.strictSame(await ips('ip=203.0.113.7'), ['203.0.113.7'])
  t.equal((await ips('limit=10')).length, 2)
})

t.test('A1111\'s own page asks for its tasks by the names that it gave them', async t => {
  const service = slow
  const task = async (id: string) => (await call(service, 'POST', '/internal/progress', { id_task: id, live_preview: true })).json
  const keys = ['active', 'queued', 'completed', 'progress', 'eta', 'live_preview', 'id_live_preview', 'textinfo']
  t.strictSame(Object.keys(await task('nobody')), keys)
  const drawing = call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick, steps: 60, force_task_id: 'task(one)' })
  await onNotices(service.services, async () => await service.services.list.count({ status: 'processing' }) > 0 || undefined)
  const waiting = call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick, force_task_id: 'task(two)' })
  await onNotices(service.services, async () => await service.services.list.count({ status: 'pending' }) > 0 || undefined)
  t.match(await task('task(one)'), { active: true, queued: false, completed: false, progress: Number })
  t.match(await task('task(two)'), { active: false, queued: true, textinfo: /^In queue: 1\/1/ })
  t.match((await call(service, 'GET', '/internal/pending-tasks')).json, { size: 1, tasks: [String] })
  await call(service, 'POST', '/sdapi/v1/interrupt', {})
  t.equal((await drawing).status, 200)
  t.equal((await waiting).json.images.length, 1)
  t.match(await task('task(two)'), { active: false, queued: false, completed: true })
  t.match((await call(service, 'GET', '/internal/pending-tasks')).json, { size: 0, tasks: [] })
  const large = { ...quick, somethingUnknown: 'x'.repeat(62 * 1024 * 1024) }
  t.equal((await call(service, 'POST', '/sdapi/v1/txt2img', large)).status, 200, 'bodies may have 64 MiB')
  const larger = await call(service, 'POST', '/sdapi/v1/txt2img', { ...quick, somethingUnknown: 'x'.repeat(65 * 1024 * 1024) })
  t.match(larger, { status: 413, json: { error: 'HTTPException', detail: String } })
})

t.test('the Photoshop plugin: probes without credentials, sends empty JSON bodies, shows previews during a generation', async t => {
  const service = slow
  t.strictSame(await sendRaw(service, 'GET', '/user', {}), { status: 200, text: 'null' })
  t.match(JSON.parse((await sendRaw(service, 'GET', '/config', {})).text), { version: String })
  const json = { 'content-type': 'application/json' }
  t.strictSame(await sendRaw(service, 'POST', '/sdapi/v1/interrupt', json), { status: 200, text: '{}' })
  t.equal((await call(service, 'POST', '/sdapi/v1/options', { CLIP_stop_at_last_layers: 2, inpainting_mask_weight: 0.5 })).status, 200)
  const drawing = call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick, steps: 100 })
  const view = await onNotices(service.services, async () => {
    const { json: seen } = await call(service, 'GET', '/sdapi/v1/progress?skip_current_image=false')
    return typeof seen.current_image === 'string' ? seen : undefined
  })
  t.match(view, { progress: Number, state: { job_count: 1, sampling_steps: 100 } })
  t.ok(String(view.current_image).startsWith(pngStart))
  t.equal((await drawing).json.images.length, 1)
})

t.test('clients without the right get A1111\'s own error', async t => {
  const service = await startService(t, { settings: { UI_AUTH: 'token', BOOTSTRAP_API_KEY: '' } })
  const error = (detail: string) => ({ error: 'HTTPException', detail, body: '', errors: '' })
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'a client' })
  const basic = (pair: string) => ({ authorization: `Basic ${base64(pair)}` })
  for (const headers of [{}, { authorization: '' }, { authorization: 'Basic ' }, basic(':')]) {
    t.strictSame(await call(service, 'GET', '/sdapi/v1/samplers', undefined, headers), { status: 401, json: error('Not authenticated') })
  }
  t.strictSame(await call(service, 'GET', '/sdapi/v1/samplers', undefined, basic('user:wrong')),
    { status: 401, json: error('Incorrect username or password') })
  const good = [
    basic(`${accessKey.key}:${secret}`), basic(`:${secret}`), basic(`anybody:${secret}`),
    { authorization: `Bearer ${base64(`${accessKey.key}:${secret}`)}` }, { authorization: `Bearer ${secret}` },
    { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  ]
  for (const headers of good) t.equal((await call(service, 'GET', '/sdapi/v1/samplers', undefined, headers)).status, 200)
  await service.services.accessKeys.update(accessKey.id, { active: false })
  for (const headers of good) t.equal((await call(service, 'GET', '/sdapi/v1/samplers', undefined, headers)).status, 401)
})
