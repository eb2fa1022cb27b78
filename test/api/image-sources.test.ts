import sharp from 'sharp'
import t from 'tap'
import type { Principal } from '../../src/access/principal.ts'
import { createImageSources } from '../../src/jobs/image-sources.ts'
import { imageLimits } from '../../src/media/images.ts'
import { type JsonBody, quick, startService } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t)
const first = await service.until(await service.submit(quick), 'completed')
const name = String(first.images[0]?.filename)
const post = async (parameters: object, headers: Record<string, string> = {}, path = '/api/v2/generate') =>
  await service.request('POST', path, { generation_params: { ...quick, ...parameters } }, headers)

t.test('a job starts from the image of another job, by job, by name, and wherever an image stands', async t => {
  const unit = { image: { job_id: first.id, index: 0 }, module: 'none', model: 'None' }
  for (const parameters of [
    { init_images: [{ job_id: first.id, index: 0 }] }, { init_images: [{ job_id: first.id }] }, { init_images: [name] },
    { init_images: [name], mask: { job_id: first.id } }
  ]) {
    const answer = await post(parameters)
    t.match(answer, { status: 202 }, JSON.stringify([parameters, answer.body]))
    const job = await service.until(String(answer.body.id), 'completed', 'failed')
    t.match(job, { status: 'completed', generation_params: { init_images: [{ $media: /\.png$/ }] } })
  }
  const dry = await service.request('POST', '/api/v2/generate', {
    ...quick, dry_run: true, alwayson_scripts: { controlnet: { args: [unit] } }, init_images: [name]
  })
  t.match(dry, { status: 200 }, JSON.stringify(dry.body))
  t.match(await service.request('POST', '/api/v2/generate/bulk',
    { ...quick, bulk_quantity: 2, init_images: [name] }), { status: 202, body: { total_jobs: 2 } })
})

t.test('an image that is not there, or not the caller\'s, is refused by field', async t => {
  const { headers } = await keyHeaders(service)
  const missing = name.replace(/^.{8}/, 'ffffffff')
  for (const [parameters, status, error, field, key] of [
    [{ init_images: [{ job_id: 'nope' }] }, 404, 'job_not_found', 'generation_params.init_images.0.job_id', {}],
    [{ init_images: [{ job_id: first.id, index: 9 }] }, 400, 'invalid_field_value', 'generation_params.init_images.0.index', {}],
    [{ init_images: [{ job_id: first.id, idx: 0 }] }, 400, 'invalid_field_value', 'generation_params.init_images.0', {}],
    [{ init_images: [missing] }, 404, 'image_not_found', 'generation_params.init_images.0', {}],
    [{ init_images: [name] }, 404, 'image_not_found', 'generation_params.init_images.0', headers],
    [{ init_images: [{ job_id: first.id }] }, 404, 'job_not_found', 'generation_params.init_images.0.job_id', headers],
    [{ init_images: ['http://example.org/a.png'] }, 400, 'invalid_field_value', 'generation_params.init_images.0', {}],
    [{ init_images: ['https://127.0.0.1:1/a.png'] }, 422, 'invalid_image', 'generation_params.init_images.0', headers],
    [{ init_images: ['https://[::1'] }, 400, 'invalid_field_value', 'generation_params.init_images.0', {}]
  ] as const) {
    const answer = await post(parameters, key)
    t.match(answer, { status, body: { error, details: { field } } }, JSON.stringify([parameters, answer.body]))
  }
})

t.test('an https address is fetched once for each image, and judged by its bytes', async t => {
  const { config, media, uploadTexts: texts, store } = service.services
  const png = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#36a' } }).png().toBuffer()
  const asked: string[] = []
  const sources = createImageSources({
    store,
    media,
    texts,
    limits: imageLimits(config),
    async fetch (url) {
      asked.push(url.href)
      if (url.pathname === '/down.png') throw new Error('example.org answered 503')
      return url.pathname === '/page.png' ? Buffer.from('<html>') : png
    }
  })
  const admin = { kind: 'local', keyId: null } as unknown as Principal
  const resolve = async (path: string) => await sources.resolve({ prompt: 'https://example.org/x', init_images: [path] }, admin)
  t.match(await resolve('https://example.org/a.png'), { prompt: 'https://example.org/x', init_images: [{ $media: /\.png$/ }] })
  t.same(asked, ['https://example.org/a.png'], 'a prompt is no image')
  await t.rejects(resolve('https://example.org/down.png'), {
    code: 'invalid_image', details: { field: 'init_images.0' }, message: /^The image at example\.org could not be fetched: .*503\.$/
  })
  await t.rejects(resolve('https://example.org/page.png'), { code: 'invalid_image', details: { field: 'init_images.0' } })
  const { generation_params: kept } = await service.job(first.id)
  t.notOk('init_images' in (kept as JsonBody))
})

t.test('A1111\'s own routes fetch nothing', async t => {
  for (const image of [name, 'https://example.org/a.png', { job_id: first.id }]) {
    const { status } = await service.request('POST', '/sdapi/v1/img2img?async=1', { ...quick, init_images: [image] })
    t.ok(status >= 400, `${status}, in A1111's words`)
  }
})
