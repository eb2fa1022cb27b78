import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { onNotices, quick, startService, type JsonBody } from '../helper.ts'
import { folderWith, safetensors, scanned } from '../models/files.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { call, type Fields } from './client.ts'

const authToken = 'the-one-token-of-async-proxy'
const asProxy = { authorization: `Bearer ${authToken}` }
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
const lora = Buffer.concat([safetensors({}, 7), Buffer.alloc(1000, 3)])
const sha256 = createHash('sha256').update(lora).digest('hex')

interface Asked { readonly path: string, readonly type: string, readonly body: Buffer }

/** Civitai, HuggingFace, a tagger, a Florence and a site with images, all at one address. */
const asked: Asked[] = []
const answers = new Map<string, string | Buffer | Promise<Buffer>>()
const requests = new EventEmitter()
const server = createServer((request, response) => {
  buffer(request).then(async body => {
    const path = request.url ?? ''
    asked.push({ path, type: String(request.headers['content-type']), body })
    requests.emit(path)
    const answer = await answers.get(path)
    response.writeHead(answer === undefined ? 404 : 200).end(answer ?? '{}')
  }).catch(() => { response.destroy() })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
t.teardown(() => { server.close() })
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const folder = await folderWith(t, { 'there.safetensors': safetensors({}, 1) })
const service = await startService(t, {
  settings: {
    AUTH_TOKEN: authToken,
    JOB_ATTEMPTS: '1',
    EGRESS_PROFILE: 'lan',
    LORA_DIR: folder,
    CIVITAI_BASE_URL: `${address}/api/v1`,
    CIVITAI_INTERVAL_SECONDS: '0.01',
    HUGGINGFACE_BASE_URL: address,
    TAGGER_URL: `${address}/evaluate`,
    FLORENCE_API_BASE: `${address}/`
  }
})
const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
const version = (id: number) => JSON.stringify({
  id,
  modelId: 11,
  name: 'v1',
  baseModel: 'SDXL 1.0',
  trainedWords: ['grainy', 'film'],
  model: { name: 'Film Grain', type: 'LORA', nsfw: false },
  images: [{ url: 'https://image.civitai.com/1.png', nsfwLevel: 1, width: 64, height: 64 }],
  files: [{ name: `grain-${id}.safetensors`, primary: true, downloadUrl: `${address}/file`, hashes: { SHA256: sha256 } }]
})
for (const id of [1, 2, 3]) answers.set(`/api/v1/model-versions/${id}`, version(id))
answers.set('/api/v1/models/11', JSON.stringify({ id: 11, modelVersions: [{ id: 3 }, { id: 2 }] }))
answers.set('/file', lora)
answers.set('/owner/repo/resolve/main/dir/other.safetensors', lora)

async function ended (uuid: unknown): Promise<JsonBody> {
  for (;;) {
    const { body } = await service.request('GET', `/sdapi/v1/jobs/${String(uuid)}`, undefined, asProxy)
    if (['completed', 'error', 'canceled'].includes(String(body.job_status))) return body
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}

t.test('assets are imported as jobs from every kind of address, and can be found again', async t => {
  const order = async (body: unknown) => await call(service, 'POST', '/sdapi/v1/assets/download', body, asProxy)
  const urls = [
    'urn:air:sdxl:lora:civitai:11@1',
    `${address}/models/11/film-grain?modelVersionId=2`,
    `${address}/models/11`,
    `${address}/owner/repo/blob/main/dir/other.safetensors`
  ]
  const uuids: unknown[] = []
  for (const url of urls) {
    const { status, json } = await order({ kind: 'LoRA', url })
    t.equal(status, 202, JSON.stringify(json))
    t.strictSame(Object.keys(json), ['uuid'])
    uuids.push(json.uuid)
  }
  for (const uuid of uuids) {
    const job = await ended(uuid)
    t.strictSame(Object.keys(job), ['uuid', 'job_status', 'progress', 'images', 'info'])
    t.match(job, { uuid, job_status: 'completed', progress: 1, images: [], info: /\.safetensors$/ })
  }
  const { json: listed } = await call<Fields[]>(service, 'GET', '/sdapi/v1/jobs', undefined, asProxy)
  t.match(listed.filter(({ uuid }) => uuids.includes(uuid)).map(({ workflow }) => workflow),
    ['asset-download', 'civitai-download', 'civitai-download', 'civitai-download'], 'newest first')
  for (const [body, error] of [
    [{ kind: 'vae', url: 'x' }, "kind must be 'model' or 'lora'"],
    [{ kind: 'lora' }, 'url is required'],
    [{ kind: 'lora', url: 'urn:air:sdxl:lora:other:1@2' }, 'Invalid AIR tag. Expected civitai provider with model@version.'],
    [{ kind: 'lora', url: 'https://evilcivitai.com.attacker.test/models/11' }, /Civitai/]
  ] as const) t.match(await order(body), { status: 400, json: { error } })
  const { json: missing } = await order({ kind: 'lora', url: 'urn:air:sdxl:lora:civitai:11@99' })
  t.match(missing, { error: /Civitai offers no file/ })

  await scanned(service)
  const { json: assets } = await call<Fields[]>(service, 'GET', '/sdapi/v1/assets?kind=lora', undefined, asProxy)
  const grain = assets.find(({ source_url: source }) => source !== null)
  t.strictSame(Object.keys(grain ?? {}), [
    'id', 'kind', 'name', 'source_url', 'example_prompt', 'min', 'max', 'local_path', 'created_at', 'updated_at', 'images'
  ])
  t.match(grain, {
    id: Number,
    kind: 'lora',
    source_url: /^https:\/\/civitai\.com\/models\/11\?modelVersionId=\d$/,
    example_prompt: 'grainy, film',
    images: [{ url: 'https://image.civitai.com/1.png', is_nsfw: false, width: 64, height: 64, meta: null }]
  })
  t.strictSame((await call(service, 'GET', `/sdapi/v1/assets/${String(grain?.id)}`, undefined, asProxy)).json, grain)
  t.match(await call(service, 'GET', '/sdapi/v1/assets/999999', undefined, asProxy), { status: 404, json: { error: 'Not found' } })
  t.match(await call(service, 'GET', '/sdapi/v1/assets?kind=vae', undefined, asProxy), { status: 400, json: { error: String } })
  t.strictSame((await call(service, 'GET', '/sdapi/v1/assets?kind=model', undefined, asProxy)).json, [])

  const { json: details } = await call(service, 'GET', `/sdapi/v1/loras/${String(grain?.id)}`, undefined, asProxy)
  t.match(details, {
    name: String,
    alias: String,
    path: String,
    metadata: {},
    civitai: { modelId: 11, model: Object, trainedWords: ['grainy', 'film'], images: [{ url: String }] }
  })
  t.match((await call(service, 'GET', '/sdapi/v1/sd-models/dreamscape-v8', undefined, asProxy)).json, {
    title: /^dreamscape-v8\.safetensors/, model_name: 'dreamscape-v8', civitai: null
  })
  t.match(await call(service, 'GET', '/sdapi/v1/sd-models/nowhere', undefined, asProxy), { status: 404, json: { error: 'Model not found' } })
  t.match(await call(service, 'GET', '/sdapi/v1/loras/nowhere', undefined, asProxy), { status: 404, json: { error: 'LoRa not found' } })
})

t.test('meta.auto_tag tags the first image, and the webhook contains the tags in async-proxy\'s form', async t => {
  answers.set('/evaluate', JSON.stringify([{ filename: 'x.png', tags: { lighthouse: 0.9, sea: 0.5 } }]))
  const hook = { webhookUrl: `${receiver.url}/hook`, webhookKey: 'secret-of-the-client' }
  const { status, json } = await call(service, 'POST', '/sdapi/v1/txt2img',
    { ...quick, seed: 0, meta: { auto_tag: true }, ...hook }, asProxy)
  t.equal(status, 202)
  const [delivered] = await receiver.until(1, ({ event }) => event.uuid === json.uuid)
  t.equal(delivered?.headers['x-webhook-key'], 'secret-of-the-client')
  t.match(delivered?.event, {
    uuid: json.uuid,
    job_status: 'completed',
    progress: 1,
    images: [/^iVBORw0KGgo/],
    seed: 0,
    info: /"prompt"/,
    tags: { lighthouse: 0.9, sea: 0.5 }
  })
  const form = asked.find(({ path }) => path === '/evaluate')
  t.match(form?.type, /^multipart\/form-data/)
  t.match(form?.body.toString('latin1'), /name="file"; filename="[^"]+\.png"[^]*PNG[^]*name="format"\r\n\r\njson/)
  t.match(await ended(json.uuid), { job_status: 'completed', tags: { sea: 0.5 } })

  answers.delete('/evaluate')
  const without = await call(service, 'POST', '/sdapi/v1/txt2img', { ...quick, meta: { auto_tag: true }, ...hook }, asProxy)
  const [next] = await receiver.until(1, ({ event }) => event.uuid === without.json.uuid)
  t.match(next?.event, { job_status: 'completed', images: [/^iVBOR/], tags: {} }, 'a tagger that fails costs nobody a picture')

  service.simulator.setFaults([{ kind: 'nan' }])
  const failing = await call(service, 'POST', '/sdapi/v1/txt2img', { ...quick, ...hook }, asProxy)
  const [failure] = await receiver.until(1, ({ event }) => event.uuid === failing.json.uuid)
  t.match(failure?.event, { job_status: 'error', images: [], info: /NaN/ })
  service.simulator.setFaults([])
})

t.test('Florence answers questions about images that StableQueue fetches for it', async t => {
  answers.set('/picture.png', Buffer.from(png, 'base64'))
  answers.set('/upload', JSON.stringify(['/tmp/gradio/picture.png']))
  answers.set('/call/update_task_dropdown', JSON.stringify({ event_id: 'one' }))
  answers.set('/call/update_task_dropdown/one', 'event: complete\ndata: [null]\n\n')
  answers.set('/call/process_image', JSON.stringify({ event_id: 'two' }))
  answers.set('/call/process_image/two',
    'event: heartbeat\ndata: null\n\nevent: complete\ndata: ["a small square", {"path": "/tmp/gradio/out.png"}]\n\n')
  answers.set('/file=/tmp/gradio/out.png', Buffer.from(png, 'base64'))
  const ask = async (body: unknown) => await call(service, 'POST', '/sdapi/v1/florence', body, asProxy)
  const { status, json } = await ask({
    imageUrl: `${address}/picture.png`, task: 'Caption', prompt: 'short', webhookUrl: `${receiver.url}/hook`
  })
  t.equal(status, 202, JSON.stringify(json))
  const [delivered] = await receiver.until(1, ({ event }) => event.uuid === json.uuid)
  t.match(delivered?.event, { job_status: 'completed', progress: 1, images: [png], info: 'a small square', seed: null, tags: null })
  t.match(await ended(json.uuid), { job_status: 'completed', progress: 1, images: [png], info: 'a small square' })
  const lifetime = await service.services.redis.ttl(service.services.keys.key('florence', String(json.uuid)))
  t.ok(lifetime > 86_000 && lifetime <= 86_400, `kept for a day: ${lifetime} s`)
  const sent = asked.filter(({ path }) => path.startsWith('/call/') && !/one|two/.test(path)).map(({ body }) => JSON.parse(String(body)) as unknown)
  t.match(sent, [
    { data: ['Cascaded task'] },
    { data: [{ path: '/tmp/gradio/picture.png' }, 'Caption', 'short', 'microsoft/Florence-2-large'] }
  ])
  t.match((await call<Fields[]>(service, 'GET', '/sdapi/v1/jobs', undefined, asProxy)).json.find(({ uuid }) => uuid === json.uuid),
    { workflow: 'florence', job_status: 'completed' })

  answers.set('/call/process_image/two', 'event: error\ndata: "no such task"\n\n')
  const refused = await ask({ imageUrl: `${address}/picture.png`, task: 'Nonsense' })
  t.match(await ended(refused.json.uuid), { job_status: 'error', images: [], info: /no such task/ })
  t.match((await call<Fields[]>(service, 'GET', '/sdapi/v1/errors', undefined, asProxy)).json[0], { uuid: refused.json.uuid })
  t.match(await ask({ task: 'Caption' }), { status: 400, json: { error: 'imageUrl and task are required' } })
  t.match(await ask({ imageUrl: 'file:///etc/passwd', task: 'Caption' }), { status: 400, json: { error: /imageUrl/ } })
  t.match(await ask({ imageUrl: 'http://169.254.169.254/latest', task: 'Caption' }), { status: 400, json: { error: /imageUrl/ } })
  const { json: workflows } = await call<Fields[]>(service, 'GET', '/sdapi/v1/workflows', undefined, asProxy)
  t.strictSame(workflows.map(({ workflow }) => workflow), ['txt2img', 'img2img', 'civitai-download', 'asset-download', 'florence'])
})

t.test('waiting work of every kind can be cancelled', async t => {
  await onNotices(service.services, async () => await service.services.list.count({ status: 'processing' }) === 0 || undefined)
  answers.set('/slow.png', Buffer.from(png, 'base64'))
  const { json } = await call(service, 'POST', '/sdapi/v1/florence', { imageUrl: `${address}/gone.png`, task: 'Caption' }, asProxy)
  const cancelled = await service.request('DELETE', `/sdapi/v1/jobs/${String(json.uuid)}`, undefined, asProxy)
  t.equal(cancelled.status, 204)
  t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${String(json.uuid)}`, undefined, asProxy)).status, 204)
  t.match(await ended(json.uuid), { job_status: 'canceled', progress: 1 })
})

t.test('an import has the name of its work while it runs, and can be stopped like a job', async t => {
  let release = (_bytes: Buffer) => {}
  const held = new Promise<Buffer>(resolve => { release = resolve })
  answers.set('/api/v1/model-versions/4', version(4).replace('/file"', '/held-file"'))
  const downloads = '/sdapi/v1/assets/download'
  const works = [
    ['civitai-download', '/held-file', downloads, { kind: 'lora', url: 'urn:air:sdxl:lora:civitai:11@4' }],
    ['asset-download', '/owner/repo/resolve/main/held.safetensors', downloads,
      { kind: 'lora', url: `${address}/owner/repo/resolve/main/held.safetensors` }],
    ['florence', '/held.png', '/sdapi/v1/florence', { imageUrl: `${address}/held.png`, task: 'Caption' }]
  ] as const
  for (const [state, path, route, order] of works) {
    answers.set(path, held)
    const begun = once(requests, path)
    const { json: { uuid } } = await call(service, 'POST', route, order, asProxy)
    await begun
    t.match((await service.request('GET', `/sdapi/v1/jobs/${String(uuid)}`, undefined, asProxy)).body,
      { uuid, job_status: state, images: [] })
    const { json: listed } = await call<Fields[]>(service, 'GET', '/sdapi/v1/jobs', undefined, asProxy)
    t.match(listed.find(job => job.uuid === uuid), { workflow: state, job_status: state })
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${String(uuid)}`, undefined, asProxy)).status, 204)
    t.match(await ended(uuid), { job_status: 'canceled', progress: 1 })
  }
  release(lora)
})

t.test('without Florence and without a tagger, the error says that none is configured', async t => {
  const plain = await startService(t, { settings: { EGRESS_PROFILE: 'lan' } })
  const listener = await startReceiver(t, [plain.services.webhooks.signingKeys.ownSecret])
  t.match(await call(plain, 'POST', '/sdapi/v1/florence', { imageUrl: 'https://example.org/a.png', task: 'Caption' }), {
    status: 404, json: { error: /FLORENCE_URL/ }
  })
  const { json: { uuid } } = await call(plain, 'POST', '/sdapi/v1/txt2img', {
    ...quick, meta: { auto_tag: true }, webhookUrl: listener.url
  })
  const [delivered] = await listener.until(1, ({ event }) => event.uuid === uuid)
  t.match(delivered?.event, { job_status: 'completed', tags: null })
  const { warnings } = await plain.job(String(uuid))
  t.match(warnings, [{ code: 'no_tagger', message: /TAGGER_URL/, field: 'meta.auto_tag' }])
  const { body } = await plain.request('POST', '/sdapi/v1/txt2img?async=1', { ...quick, meta: { auto_tag: false } })
  t.notMatch((await plain.job(String(body.uuid))).warnings, [{ code: 'no_tagger' }])
})
