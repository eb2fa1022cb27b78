import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { testImage, small, startBots } from './studio.ts'

const bots = await startBots(t, { settings: { STUDIO_UPSCALE_MEGAPIXELS: '0.02' } })

async function sizeOf (image: unknown): Promise<string> {
  const { width, height } = await sharp(Buffer.from(String(image), 'base64')).metadata()
  return `${width}x${height}`
}

t.test('upscaling and face restoration of finished images are jobs like all others', async t => {
  const image = await testImage(40, 30)
  const { asked, path, job } = await bots.generate('/generate/upscale', { user_id: 'ann', image, scale: 3, restore_faces: true })
  t.equal(path, '/sdapi/v1/extra-batch-images')
  t.same(asked, {
    imageList: [{ data: image, name: '0.png' }],
    resize_mode: 0,
    upscaling_resize: 3,
    upscaler_1: 'R-ESRGAN 4x+',
    gfpgan_visibility: 0,
    codeformer_visibility: 1,
    codeformer_weight: 0,
    show_extras_results: false
  })
  t.match(job, { status: 'completed', type: 'upscale' })
  const { body } = await bots.request('GET', `/jobs/${String(job.job_id)}/result`)
  t.equal(await sizeOf((body.images as string[])[0]), '120x88', 'in eighths, as A1111 makes it')

  const upstream = await bots.generate('/generate/face-restore', { user_id: 'ann', job_id: job.job_id })
  t.match(upstream.asked, { upscaler_1: 'None', codeformer_visibility: 1, imageList: [{ data: (body.images as string[])[0] }] })
  for (const [wrong, loc] of [
    [{}, 'image'], [{ image, scale: 8 }, 'scale'], [{ image, width: 400, height: 40 }, 'width'], [{ image, width: 80 }, 'height'], [{ image, upscaler: 'R-ESRGAN 5x+' }, 'upscaler'], [{ job_id: job.job_id, image_index: 7 }, 'image_index']
  ] as const) {
    const refused = await bots.request('POST', '/generate/upscale', { user_id: 'ann', ...wrong })
    t.match(refused, { status: 422, body: { detail: [{ loc: ['body', loc] }] } })
  }
})

t.test('a cancelled upscale is over for its user at once, and for the next job when the server is done', async t => {
  const { recorder, request, ended } = bots
  const before = recorder.generations.length
  const release = recorder.holdAnswers()
  const image = await testImage(40, 30)
  const { body: upscale } = await request('POST', '/generate/upscale', { user_id: 'ann', image })
  await recorder.reached(before + 1)
  const { body: next } = await request('POST', '/generate/txt2img', small)
  const { status } = await request('POST', `/jobs/${String(upscale.job_id)}/cancel`)
  t.equal(status, 200)
  t.match(await ended(upscale.job_id), { status: 'failed', message: 'cancelled', image_urls: [] })
  t.match((await request('GET', `/jobs/${String(next.job_id)}`)).body, { status: 'queued' })
  t.equal(recorder.generations.length, before + 1, 'nothing is sent to a server that still works')
  release()
  t.match(await ended(next.job_id), { status: 'completed' })
  t.equal(recorder.interrupts(), 0, 'which might have hit somebody else')
  t.match((await request('GET', `/jobs/${String(upscale.job_id)}`)).body, { status: 'failed', message: 'cancelled' })
  const files = await readdir(join(bots.dataDirectory, 'outputs'), { recursive: true })
  t.notOk(files.some(name => name.includes(String(upscale.job_id).slice(0, 8))), 'its answer is not kept')
})

for (const isCancelled of [false, true]) {
  t.test(`a service that stops does not wait for an upscale that is ${isCancelled ? 'cancelled' : 'wanted'}`, async t => {
    const other = await startBots(t)
    other.recorder.holdAnswers()
    const { body } = await other.request('POST', '/generate/upscale', { user_id: 'ann', image: await testImage(40, 30) })
    await other.recorder.reached(1)
    if (isCancelled) {
      await other.request('POST', `/jobs/${String(body.job_id)}/cancel`)
      await other.ended(body.job_id)
    }
    await other.worker?.close()
    t.match((await other.request('GET', `/jobs/${String(body.job_id)}`)).body, { status: isCancelled ? 'failed' : 'queued' })
  })
}
