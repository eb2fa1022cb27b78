import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { keyHeaders } from './access-key.ts'
import { zipEntries } from './zip-entries.ts'

interface Image { filename: string, thumbnail_url: string, prompt: string }

const service = await startService(t)
const { request } = service
const mine = await keyHeaders(service)
const others = await keyHeaders(service)
const prompts = ['a red boat', 'a green boat <lora:film-grain:0.6>', 'a blue house', 'two houses']
const ids: string[] = []
const list = async (query: string, headers = {}) => {
  const { status, body } = await request('GET', `/api/v1/gallery${query}`, undefined, headers)
  t.equal(status, 200, JSON.stringify(body).slice(0, 300))
  return { images: body.images as Image[], cursor: body.next_cursor as string | null }
}
const promptsOf = ({ images }: { images: Image[] }) => images.map(({ prompt }) => prompt)
const bytesOf = async (path: string, headers = {}) => {
  const response = await fetch(service.url + path, { headers })
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
}

t.test('jobs of two checkpoints leave their images', async t => {
  for (const prompt of prompts) {
    const { body } = await request('POST', '/api/v2/generate', {
      target_server_alias: 'Main',
      on_missing: 'ignore',
      generation_params: {
        ...quick,
        prompt,
        n_iter: prompt === 'two houses' ? 2 : 1,
        checkpoint_name: prompt === 'a blue house' ? 'anime-pastel' : 'dreamscape-v8'
      }
    }, mine.headers)
    ids.push(String(body.job_id))
  }
  for (const id of ids) {
    t.match(await service.until(id, 'completed', 'failed'), { status: 'completed' })
  }
})

t.test('images are listed newest first, page by page, each once', async t => {
  const all = await list('')
  t.strictSame(promptsOf(all), ['two houses', 'two houses', 'a blue house', prompts[1], 'a red boat'])
  t.match(all.images[0], {
    filename: /^[0-9a-f]{8}_.*_0\.png$/, url: /^\/outputs\//, job_id: ids[3], server: 'Main', role: 'image', width: 64, api_key_id: mine.id
  })
  t.match(all.images[2], { checkpoint: /^anime-pastel/ })
  t.equal(all.cursor, null)
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: Awaited<ReturnType<typeof list>> = await list(`?limit=1${cursor && `&cursor=${cursor}`}`)
    seen.push(...page.images.map(({ filename }) => filename))
    cursor = page.cursor
  }
  t.strictSame(seen, all.images.map(({ filename }) => filename))
})

t.test('images are found by prompt, model, server, day and key', async t => {
  t.strictSame(promptsOf(await list('?search=BOAT')), [prompts[1], 'a red boat'])
  t.strictSame(promptsOf(await list('?model=Anime')), ['a blue house'])
  t.strictSame(promptsOf(await list('?model=film-grain')), [prompts[1]], 'also by a LoRA')
  t.equal((await list('?server=main&search=boat')).images.length, 2)
  const { createdAt } = await service.services.store.get(ids[2] ?? '')
  const timestamp = new Date(createdAt).toISOString()
  t.strictSame(promptsOf(await list(`?until=${timestamp}`)), [prompts[1], 'a red boat'])
  t.strictSame(promptsOf(await list(`?since=${timestamp}&search=blue`)), ['a blue house'])
  t.equal((await list(`?key=${mine.id}`)).images.length, 5)
  t.equal((await list(`?key=${others.id}`)).images.length, 0)
  t.equal((await list('?role=extra')).images.length, 0)
  t.match(await request('GET', '/api/v1/gallery?server=Nowhere'), { status: 404, body: { details: { field: 'server' } } })
  t.match(await request('GET', '/api/v1/gallery?since=yesterday'), { status: 400 })
})

t.test('a key sees, downloads and deletes no images of others', async t => {
  const [image] = (await list('')).images
  t.equal((await list('', mine.headers)).images.length, 5)
  t.equal((await list('', others.headers)).images.length, 0)
  t.equal((await request('GET', `/api/v1/gallery?key=${mine.id}`, undefined, others.headers)).status, 403)
  t.match((await request('GET', '/api/v1/gallery/images', undefined, others.headers)).body, { total: 0, images: [] })
  const path = `/api/v1/gallery/images/${image?.filename}`
  t.equal((await request('GET', `${path}/info`, undefined, others.headers)).status, 404)
  t.equal((await request('DELETE', path, undefined, others.headers)).status, 404)
  t.match((await request('POST', '/api/v1/gallery/delete', { filenames: [image?.filename] }, others.headers)).body,
    { deleted: [], missing: [image?.filename] })
  t.equal((await request('POST', '/api/v1/gallery/zips', { filenames: [image?.filename] }, others.headers)).status, 404)
  t.equal((await bytesOf(image?.thumbnail_url ?? '', others.headers)).status, 404)
  const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#7090c0' } }).png().toBuffer()
  const { body: { job_id: drawnOver } } = await request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: { ...quick, init_images: [picture.toString('base64')] }
  }, mine.headers)
  const { generation_params: parameters } = await service.until(String(drawnOver), 'completed')
  const [input] = (parameters as { init_images: Array<{ $media: string }> }).init_images
  const inputs = `/api/v2/jobs/${drawnOver}/inputs`
  t.ok((await bytesOf(`${inputs}/${input?.$media}`, mine.headers)).body.equals(picture))
  t.equal((await request('GET', `${inputs}/${input?.$media}`, undefined, others.headers)).status, 404)
  t.match(await request('GET', `${inputs}/${'0'.repeat(64)}.png`, undefined, mine.headers),
    { status: 404, body: { error: 'image_not_found' } }, 'a job leads to its own images only')
  await request('DELETE', `/api/v2/jobs/${drawnOver}`)
  t.strictSame((await readdir(join(service.dataDirectory, 'thumbnails'))).filter(name => name.endsWith('.webp')), [],
    'nothing is drawn for strangers')
})

t.test('thumbnails are small, made once, kept, and only for our own outputs', async t => {
  const id = await service.submit({ ...quick, width: 512, height: 384, prompt: 'a wide view' })
  const [image] = (await service.until(id, 'completed')).images
  const path = `/outputs/thumbs/${image?.filename}`
  const answers = await Promise.all(Array.from({ length: 5 }, async () => await bytesOf(path)))
  for (const { status, body } of answers) {
    t.equal(status, 200)
    t.ok(answers[0]?.body.equals(body))
  }
  t.match(await sharp(answers[0]?.body).metadata(), { format: 'webp', width: 320, height: 240 })
  const headers = Object.fromEntries(answers[0]?.headers.entries() ?? [])
  t.match(headers, { 'content-type': 'image/webp', 'cache-control': 'private, max-age=31536000, immutable', 'x-content-type-options': 'nosniff' })
  t.equal((await bytesOf(path, { 'if-none-match': headers.etag })).status, 304)
  const folder = join(service.dataDirectory, 'thumbnails')
  t.ok((await readdir(folder)).includes(`${image?.filename}.webp`))
  t.strictSame(await readdir(join(folder, '.drafts')), [])

  await writeFile(join(service.dataDirectory, 'outputs', 'stray.png'), answers[0]?.body ?? '')
  const strange = '1f0c2a9e_2026-11-21T09-30-00-000Z_0.png'
  await writeFile(join(service.dataDirectory, 'outputs', strange), answers[0]?.body ?? '')
  for (const name of ['stray.png', strange, '..%2foutputs%2fstray.png', '%2e%2e%2fmaster.key', `${image?.filename}%00`, '.drafts']) {
    t.match((await bytesOf(`/outputs/thumbs/${name}`)).status, /^40[04]$/, name)
  }
  await writeFile(join(service.dataDirectory, 'outputs', image?.filename ?? ''), 'no picture any more')
  t.equal((await bytesOf(path)).status, 200, 'a made one stays')

  await request('DELETE', `/api/v2/jobs/${id}`)
  t.notOk((await readdir(folder)).includes(`${image?.filename}.webp`), 'it goes with its job')
  t.equal((await bytesOf(path)).status, 404)
})

t.test('many images come as one zip, with their parameters', async t => {
  const { images } = await list('?search=house')
  const names = images.map(({ filename }) => filename)
  const ordered = await request('POST', '/api/v1/gallery/zips', { filenames: names, parameters: true }, mine.headers)
  t.match(ordered, { status: 201, body: { count: 3, bytes: Number, url: /^\/api\/v1\/gallery\/zips\// } })
  const url = String(ordered.body.url)
  t.equal((await bytesOf(url, others.headers)).status, 404)
  const { headers, body } = await bytesOf(url, mine.headers)
  t.equal(headers.get('content-type'), 'application/zip')
  t.match(headers.get('content-disposition'), /^attachment; filename="stablequeue-.*-3\.zip"$/)
  const entries = zipEntries(body)
  t.strictSame([...entries.keys()].sort(), [...names, ...names.map(name => `${name}.json`)].sort())
  for (const name of names) {
    t.ok(entries.get(name)?.content.equals((await bytesOf(`/outputs/${name}`)).body), name)
  }
  const entry = entries.get(`${names[2]}.json`)
  t.match(JSON.parse(String(inflateRawSync(entry?.content ?? ''))), {
    filename: names[2], seed: Number, checkpoint: /^anime-pastel/, generation_params: { prompt: 'a blue house', steps: 2 }
  })

  await request('DELETE', `/api/v1/gallery/images/${names[0]}`)
  const later = zipEntries((await bytesOf(url, mine.headers)).body)
  t.notOk(later.has(names[0] ?? ''))
  t.match(String(inflateRawSync(later.get('missing.txt')?.content ?? '')), names[0])
  t.match(await request('POST', '/api/v1/gallery/zips', { filenames: [] }), { status: 400, body: { details: { field: 'filenames' } } })
  t.match(await request('POST', '/api/v1/gallery/zips', { filenames: names.slice(0, 1) }), { status: 404 })
  t.equal((await bytesOf('/api/v1/gallery/zips/none')).status, 404)
})

t.test('StableQueue\'s clients list, read and delete images by the former routes', async t => {
  const { body } = await request('GET', '/api/v1/gallery/images')
  const images = body.images as Image[]
  t.equal(body.total, images.length)
  t.match(images[0], { filename: String, size: Number, created: /Z$/, job_id_prefix: /^[0-9a-f]{8}$/ })
  const name = images.at(-1)?.filename ?? ''
  t.match((await request('GET', `/api/v1/gallery/images/${name}/info`)).body, { filename: name, url: `/outputs/${name}` })
  t.match(await request('DELETE', `/api/v1/gallery/images/${name}`), { status: 200, body: { message: String } })
  t.equal((await bytesOf(`/outputs/${name}`)).status, 404)
  t.match(await service.job(ids[0] ?? ''), { status: 'completed', images: [] }, 'its job stays')
  t.match(await request('DELETE', `/api/v1/gallery/images/${name}`), { status: 404, body: { error: 'image_not_found' } })
  t.equal((await request('GET', '/api/v1/gallery/images')).body.total, images.length - 1)
  for (const wrong of ['..%2fmaster.key', 'a%5cb.png', 'x']) {
    t.match(await request('DELETE', `/api/v1/gallery/images/${wrong}`), { status: 400, body: { success: false } }, wrong)
  }
})
