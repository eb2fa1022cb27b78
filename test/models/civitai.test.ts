import { createHash } from 'node:crypto'
import { chmod, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import sharp from 'sharp'
import t from 'tap'
import { sanitiseHtml } from '../../src/model-facts/sanitise.ts'
import { createRequestPacer } from '../../src/models/civitai-client.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { startService, type JsonBody } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { startFakeCivitai } from './fake-civitai.ts'
import { folderWith, safetensors, scan, scanned } from './files.ts'

const file = safetensors({}, 7)
const sha256 = createHash('sha256').update(file).digest('hex')
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'plum' } }).png().toBuffer()

t.test('a query to Civitai about a file', async t => {
  const civitai = await startFakeCivitai(t)
  const origin = new URL(civitai.url).origin
  civitai.files.set('/pictures/one.png', png)
  civitai.files.set('/pictures/page.png', Buffer.from('<html>no picture</html>'))
  civitai.answers.set(`/model-versions/by-hash/${sha256}`, {
    id: 22,
    modelId: 11,
    name: 'v2',
    baseModel: 'SDXL 1.0',
    trainedWords: ['grainy, film', 'noise'],
    model: { name: 'Film Grain', type: 'LORA', nsfw: false },
    images: [
      { url: `${origin}/pictures/one.png`, nsfwLevel: 1, width: 8, height: 8 },
      { url: `${origin}/pictures/page.png`, nsfwLevel: 8 },
      { url: 'http://169.254.169.254/latest/meta-data', nsfwLevel: 1 },
      { url: 'https://image.civitai.com.attacker.test/x.png', nsfwLevel: 1 }
    ],
    files: [{ name: 'film-grain.safetensors', hashes: { SHA256: sha256.toUpperCase() } }],
    downloadUrl: 'https://civitai.com/api/download/models/22'
  })
  civitai.answers.set('/models/11', {
    id: 11, name: 'Film Grain', type: 'LORA', nsfw: false, tags: ['film', 'style'], description: '<p onclick="x()">Makes <b>grain</b><script>alert(1)</script></p>'
  })
  const folder = await folderWith(t, {
    'film-grain.safetensors': file,
    'film-grain.json': { notes: 'mine', 'preferred weight': 0.6, 'activation text': 'my words', extra: { kept: true } },
    'other.safetensors': safetensors({}, 8)
  })
  const service = await startService(t, {
    settings: { LORA_DIR: folder, CIVITAI_BASE_URL: civitai.url, CIVITAI_API_KEY: 'key-of-civitai', CIVITAI_INTERVAL_SECONDS: '0.01' }
  })
  await scanned(service)
  const info = async () => (await service.request('GET', '/api/v1/models/film-grain.safetensors/info?type=lora')).body
  const refresh = async (name: string) => await service.request('POST', `/api/v1/models/${name}/refresh-metadata`, {})

  t.test('reports that Civitai does not answer, and keeps the known data', async t => {
    civitai.troubles.push(500, 503, 500)
    const { status, body } = await refresh('film-grain.safetensors')
    t.match({ status, body }, { status: 502, body: { error: 'civitai_unreachable', message: /it answered 500.*stays/ } })
    t.match(await info(), { trigger_words: ['my words'], civitai_data: null })
    t.equal(civitai.requests.length, 3, 'it was tried again, but not for ever')
  })

  t.test('finds the file by its whole SHA-256, after an answer to come later', async t => {
    civitai.requests.length = 0
    civitai.troubles.push(429)
    const { status, body } = await refresh('film-grain.safetensors')
    t.match({ status, body }, {
      status: 200,
      body: { metadata: { model_name: 'Film Grain', version_name: 'v2', civitai_id: 11, civitai_version_id: 22 } }
    })
    t.same(civitai.requests.map(({ path }) => path),
      [`/model-versions/by-hash/${sha256}`, `/model-versions/by-hash/${sha256}`, '/models/11'])
    t.ok(civitai.requests.every(({ authorization }) => authorization === 'Bearer key-of-civitai'))
    t.match(await info(), {
      name: 'Film Grain',
      tags: ['film', 'style'],
      trigger_words: ['my words'],
      notes: 'mine',
      recommended_weight: 0.6,
      baseModel: 'SDXL 1.0',
      description: '<p>Makes <b>grain</b></p>',
      civitai_url: 'https://civitai.com/models/11?modelVersionId=22',
      civitai_data: { model: { type: 'LORA', nsfw: false }, fetched_at: /T/ }
    })
  })

  t.test('loses nothing that a person wrote, and gives Forge only Forge\'s own fields', async t => {
    const forge = JSON.parse(await readFile(join(folder, 'film-grain.json'), 'utf8')) as JsonBody
    t.same(forge, {
      notes: 'mine',
      'preferred weight': 0.6,
      'activation text': 'my words',
      extra: { kept: true },
      description: 'Makes grain',
      'sd version': 'SDXL'
    })
    const own = JSON.parse(await readFile(join(folder, 'film-grain.civitai.json'), 'utf8')) as JsonBody
    t.match(own, { id: 22, modelId: 11, model: { name: 'Film Grain' } })
    t.same((await readdir(folder)).filter(name => name.endsWith('.part')), [], 'and leaves no draft')
    t.match((await scan(service)).stats, { skipped: 2, updated: 0 }, 'a scan finds nothing new')
  })

  t.test('shows Civitai\'s images from here, fetched once, and nothing from elsewhere', async t => {
    const { id } = await info()
    civitai.requests.length = 0
    for (let time = 0; time < 2; time++) {
      const response = await fetch(`${service.url}/api/v1/models/${id}/preview`)
      t.equal(response.headers.get('content-type'), 'image/png')
      t.same(Buffer.from(await response.arrayBuffer()), png)
    }
    t.equal(civitai.requests.length, 1)
    t.equal(civitai.requests[0]?.authorization, undefined, 'the key stays with the API')
    for (const index of [1, 2, 3]) {
      const { status } = await service.request('GET', `/api/v1/models/${id}/preview?index=${index}`)
      t.equal(status, 404, `picture ${index}`)
    }
  })

  t.test('distinguishes a file unknown to Civitai from a failed query', async t => {
    t.match(await refresh('other.safetensors'), { status: 404, body: { error: 'civitai_not_found' } })
    t.match(await service.request('GET', '/api/v1/models/other/info?fetchFromCivitai=true'),
      { status: 200, body: { civitai_fetch_error: /knows no file/, filename: 'other.safetensors' } })
  })

  // Root can write anywhere, so the test has nothing to check then.
  if (process.getuid?.() !== 0) {
    t.test('works in a read-only folder', async t => {
      await chmod(folder, 0o500)
      t.teardown(() => chmod(folder, 0o700))
      t.equal((await refresh('film-grain.safetensors')).status, 200)
    })
  }

  t.test('shows whose key it is, and how an image was generated', async t => {
    civitai.answers.set('/me', { id: 5, username: 'ada' })
    t.match((await service.request('GET', '/api/v1/civitai/user-info')).body, { success: true, username: 'ada', id: 5 })
    civitai.answers.set('/images?imageId=123', {
      items: [{
        id: 123,
        meta: {
          prompt: 'a lighthouse',
          negativePrompt: 'fog',
          seed: 7,
          steps: 20,
          sampler: 'Euler a',
          cfgScale: 6.5,
          Size: '512x768',
          Model: 'dreamscape-v8',
          civitaiResources: [{ type: 'lora', weight: 0.8, modelVersionId: 22 }]
        }
      }]
    })
    const { body } = await service.request('GET',
      `/api/v1/civitai/image-info?imageId=${encodeURIComponent('https://civitai.com/images/123')}`)
    t.match(body, {
      generationParams: { positive_prompt: 'a lighthouse', seed: 7, width: 512, height: 768, sampler_name: 'Euler a' },
      resources: [{ civitaiModelVersionId: 22, isLocal: true, weight: 0.8 }]
    })
    const { status } = await service.request('POST', '/api/v2/generate',
      { target_server_alias: 'Main', generation_params: body.generationParams })
    t.equal(status, 202, 'it can be submitted as it is')
  })
})

t.test('requests are one a second over all processes', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const connections = [new Redis(redis.url), new Redis(redis.url)]
  t.teardown(() => { for (const connection of connections) connection.disconnect() })
  const keys = createKeys('test')
  const processes = connections.map(connection => createRequestPacer(connection, keys, 10_000))
  const waits = await Promise.all([0, 1, 0, 1].map(async index => await processes[index]?.take(60_000)))
  const sorted = waits.map(Number).sort((one, other) => one - other)
  t.equal(sorted[0], 0)
  t.ok(sorted.every((wait, index) => wait > index * 10_000 - 5000 && wait <= index * 10_000), String(sorted))
  t.equal(await processes[0]?.take(1000), null, 'a wait beyond the limit ends at once')
  await processes[1]?.hold(100_000)
  t.ok(Number(await processes[0]?.take(1_000_000)) > 90_000, 'a pause that one was asked for holds all')
})

t.test('descriptions keep their text and nothing active', async t => {
  const hostile = [
    '<img src=x onerror=alert(1)>', '<svg/onload=alert(1)>', '<a href="javascript:alert(1)">x</a>', '<iframe src="//evil"></iframe>',
    '<p style="background:url(javascript:alert(1))">x</p>', '<a href="http://plain">x</a>', '<math><mtext><script>alert(1)</script></mtext></math>',
    '<form action=/><input name=x></form>', '<a href=" jAvAsCrIpT:alert(1)">x</a>', '<style>*{}</style>', '<b onmouseover=alert(1)>x</b>'
  ]
  for (const html of hostile) t.notMatch(sanitiseHtml(html), /script|on\w+=|style|<img|<svg|iframe|http:|<form|<input/i, html)
  t.equal(sanitiseHtml('<h1>T</h1><p>a <strong>b</strong> <a href="https://x.test/">c</a></p>'),
    '<h3>T</h3><p>a <strong>b</strong> <a href="https://x.test/" rel="noopener noreferrer nofollow">c</a></p>')
})
