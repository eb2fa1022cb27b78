import sharp from 'sharp'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { readGenerationText } from '../../src/media/generation-text.ts'
import { zipEntries } from '../api/zip-entries.ts'

const kinds = {
  gif: 'image/gif', mp4: 'video/mp4', webm: 'video/webm', avif: 'image/avif', webp: 'image/webp'
} as const

t.test('output of a server other than images', async t => {
  const service = await startService(t, { simulator: { scripts: ['AnimateDiff'] } })
  const { simulator } = service

  async function made (parameters: object = {}, more: object = {}) {
    return await service.until(await service.submit({ ...quick, ...parameters }, { ...more }), 'completed', 'failed')
  }

  await t.test('is stored in the format of the request, with its parameters inside', async t => {
    for (const [format, quality, mime] of [
      ['webp', 60, 'image/webp'], ['jpg', undefined, 'image/jpeg'], ['avif', undefined, 'image/avif'], ['png', undefined, 'image/png']
    ] as const) {
      const more = { output_format: format, ...quality === undefined ? {} : { output_quality: quality } }
      const [image, ...others] = (await made({}, more)).images
      t.match({ ...image, others }, { mime, width: 64, height: 64, role: 'image', others: [] })
      const bytes = Buffer.from(await (await fetch(service.url + String(image?.url))).arrayBuffer())
      t.match(await readGenerationText(bytes), /Steps: \d+, Sampler/, format)
    }
    simulator.setFaults([{ kind: 'other-media', media: ['mp4'], beside: false }])
    t.match(await made({}, { output_format: 'webp' }), { images: [{ mime: 'video/mp4' }] }, 'a video stays one')
    for (const [more, field] of [
      [{ output_format: 'gif' }, 'output_format'], [{ output_quality: 50 }, 'output_quality'],
      [{ output_format: 'png', output_quality: 50 }, 'output_quality'], [{ output_format: 'webp', output_quality: 0 }, 'output_quality']
    ] as const) {
      t.match(await service.request('POST', '/api/v2/generate', { prompt: 'x', ...more }), { status: 400, body: { details: { field } } })
    }
  })

  await t.test('is kept with its type and size, alone and beside images', async t => {
    for (const [kind, mime] of Object.entries(kinds)) {
      for (const beside of [false, true]) {
        simulator.setFaults([{ kind: 'other-media', media: [kind as keyof typeof kinds], beside }])
        const job = await made()
        t.match(job, { status: 'completed', warnings: [], images: beside ? [{ mime: 'image/png' }, { mime }] : [{ mime }] }, kind)
        const image = job.images.at(-1)
        t.match(image, { width: 64, height: 64, role: mime === 'image/webp' || mime === 'image/avif' ? beside ? 'extra' : 'image' : 'image' }, kind)
        t.match(image?.filename, new RegExp(`\\.${kind}$`))
        const output = await fetch(service.url + String(image?.url))
        t.equal(output.headers.get('content-type'), mime)
        t.equal(output.headers.get('x-content-type-options'), 'nosniff')
        t.match(output.headers.get('content-security-policy'), /default-src 'none'.*sandbox/)
        const part = await fetch(service.url + String(image?.url), { headers: { range: 'bytes=0-3' } })
        t.equal(part.status, 206, 'players ask for parts')
        const small = await fetch(`${service.url}/outputs/thumbs/${String(image?.filename)}`)
        t.equal(small.headers.get('content-type'), 'image/webp', `${kind} has a thumbnail`)
        t.match(await sharp(Buffer.from(await small.arrayBuffer())).metadata(), { format: 'webp' })
      }
    }
    const { body: gallery } = await service.request('GET', '/api/v1/gallery?limit=100')
    const images = gallery.images as Array<{ mime: string, filename: string }>
    t.ok(['image/gif', 'video/mp4', 'video/webm'].every(mime => images.some(image => image.mime === mime)))
    const video = images.find(({ mime }) => mime === 'video/mp4')?.filename
    const { body: zip } = await service.request('POST', '/api/v1/gallery/zips', { filenames: [video] })
    const file = await fetch(service.url + String(zip.url))
    t.ok(zipEntries(Buffer.from(await file.arrayBuffer())).has(String(video)))
  })

  await t.test('reaches clients of A1111\'s API unchanged', async t => {
    const body = { ...quick, alwayson_scripts: { AnimateDiff: { args: [{ enable: true, video_length: 4, format: ['GIF', 'MP4', 'PNG'] }] } }, batch_size: 2, seed: 7 }
    const direct = await post(simulator.url, body)
    const queued = await post(service.url, body)
    t.equal(queued.images.length, 4)
    t.same(queued.images, direct.images)
    const alone = { ...body, alwayson_scripts: { AnimateDiff: { args: [{ enable: true, format: ['GIF'] }] } } }
    const job = await made(alone)
    t.match(job, { status: 'completed', warnings: [], images: [{ mime: 'image/gif', seed: 7 }] }, 'one animation stands for all frames')
  })

  await t.test('without a known type is dropped with a warning, and the job completes', async t => {
    for (const medium of ['unknown', 'path'] as const) {
      simulator.setFaults([{ kind: 'other-media', media: [medium, 'gif'], beside: true, sticky: true }])
      const job = await made()
      t.match(job, { status: 'completed', warnings: [{ code: 'unknown_media', message: /Entry 1 / }] }, medium)
      t.match(job.images, [{ mime: 'image/png', role: 'image' }, { mime: 'image/gif' }], medium)
      t.same(job.attempts, [])
      t.match(await made({}, { on_difference: 'fail' }), { status: 'failed', error: { code: 'different_result' } })
    }
    simulator.setFaults([{ kind: 'other-media', media: ['unknown'], sticky: true }])
    t.match(await made(), { status: 'failed', error: { code: 'corrupt_image' } }, 'a job of which nothing is left fails')
  })
})

async function post (url: string, body: object): Promise<{ images: string[] }> {
  const response = await fetch(`${url}/sdapi/v1/txt2img`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body)
  })
  return await response.json() as { images: string[] }
}
