import sharp from 'sharp'
import t from 'tap'
import { checkAnswer } from '../../src/a1111/check-answer.ts'
import type { GenerationAnswer } from '../../src/a1111/types.ts'
import { createImageCheck } from '../../src/jobs/check-images.ts'
import type { StoredImage } from '../../src/lib/media-types.ts'
import { startService, type JsonBody } from '../helper.ts'

const service = await startService(t)
const codesOf = (warnings: unknown) => (warnings as Array<{ code: string }>).map(({ code }) => code)
const grey = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } }).png().toBuffer()
/** Edges and areas, like those of drawings. */
const drawing = await sharp(Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">
  <rect width="64" height="48" fill="#357"/><circle cx="30" cy="24" r="15" fill="#eca"/>
  <path d="M22 20h6M33 20h6M24 31q6 4 12 0" stroke="#210" stroke-width="2" fill="none"/></svg>`)).png().toBuffer()

async function make (path: string, fields: object, fault: boolean): Promise<JsonBody> {
  service.simulator.setFaults(fault ? [{ kind: 'cannot-load' }] : [])
  const { status, body } = await service.request('POST', path, { user_id: 'ann', image: drawing.toString('base64'), ...fields })
  t.equal(status, 200)
  return await service.until(String(body.job_id), 'completed', 'failed')
}

t.test('a server that cannot load a face model returns the image unchanged, which gives a warning', async t => {
  for (const fields of [{ codeformer_visibility: 1 }, { gfpgan_visibility: 0.4, codeformer_visibility: 0 }]) {
    const job = await make('/generate/face-restore', fields, true)
    t.equal(job.status, 'completed')
    t.same(codesOf(job.warnings), ['faces_not_restored'])
    t.same(codesOf((await make('/generate/face-restore', fields, false)).warnings), [])
  }
})

t.test('a server that cannot load an upscaler only resizes the image, which gives a warning', async t => {
  const sizes = [
    { scale: 2 }, { scale: 3.3 }, { width: 150, height: 100 }, { width: 96, height: 120, crop: false }, { scale: 1 }
  ]
  for (const fields of sizes) {
    const about = JSON.stringify(fields)
    t.same(codesOf((await make('/generate/upscale', fields, true)).warnings), ['not_upscaled'], about)
    t.same(codesOf((await make('/generate/upscale', fields, false)).warnings), [], `${about}, upscaled`)
  }
  t.same(codesOf((await make('/generate/upscale', { scale: 2, upscaler: 'Lanczos' }, false)).warnings), [], 'which is all that Lanczos does')
})

t.test('images are compared by their visible content', async t => {
  const files = new Map<string, Buffer>()
  const check = createImageCheck({
    readInput: async ({ $media }) => files.get($media) ?? Buffer.alloc(0),
    async openOutput (name) {
      const bytes = files.get(name) ?? Buffer.alloc(0)
      return { bytes: bytes.length, mime: 'image/png', modified: 0, stream: async () => new Blob([bytes]).stream(), close: async () => {} } as never
    }
  }, service.services.log)
  const judged = async (input: Buffer, result: Buffer, parameters: object) => {
    const name = `${'a'.repeat(64)}.png`
    files.set(name, input).set('result', result)
    const image = { name: 'result', mime: 'image/png', role: 'image' } as StoredImage
    return codesOf(await check({ mode: 'extras', parameters: { init_images: [{ $media: name }], ...parameters } }, [image]))
  }
  const upstream = { upscaler_1: 'None', gfpgan_visibility: 1 }
  const patch = await sharp({ create: { width: 6, height: 6, channels: 3, background: '#fff' } }).png().toBuffer()
  const restored = await sharp(drawing).composite([{ input: patch, left: 20, top: 14 }]).png().toBuffer()
  const jpeg = async (bytes: Buffer) => await sharp(bytes).jpeg({ quality: 92 }).toBuffer()
  t.same(await judged(drawing, restored, upstream), [], 'a small face that was restored')
  t.same(await judged(drawing, await jpeg(restored), upstream), [], 'the same, as a JPEG')
  t.same(await judged(drawing, await jpeg(drawing), upstream), ['faces_not_restored'], 'a JPEG of the same picture')
  t.same(await judged(drawing, restored, { upscaler_1: 'None' }), [], 'nothing was asked for')

  const model = { upscaler_1: 'R-ESRGAN 4x+', upscaling_resize: 2 }
  const resize = async (input: Buffer, kernel: 'lanczos3' | 'cubic' | 'nearest') =>
    await sharp(input).resize({ width: 128, height: 96, kernel }).png().toBuffer()
  for (const kernel of ['lanczos3', 'cubic', 'nearest'] as const) {
    t.same(await judged(drawing, await resize(drawing, kernel), model), ['not_upscaled'], kernel)
  }
  t.same(await judged(grey, await resize(grey, 'cubic'), model), [], 'without details nothing is recognizable')
  t.same(await judged(drawing, drawing, model), ['different_size'], 'as small as it was')
  const blended = { ...model, upscaler_2: 'Lanczos', extras_upscaler_2_visibility: 1 }
  t.same(await judged(drawing, await resize(drawing, 'lanczos3'), blended), [], 'resized by the second upscaler, as asked')
  t.same(await judged(drawing, Buffer.from('no picture'), model), [], 'what cannot be read is no fault of the server')
})

t.test('an info that says that no faces were restored gives a warning', async t => {
  const parameters = { prompt: 'a lighthouse', steps: 2, width: 64, height: 64, restore_faces: true }
  t.same(codesOf((await service.until(await service.submit(parameters), 'completed', 'failed')).warnings), [])
  const answer: GenerationAnswer = { imageCount: 1, info: { restore_faces: false }, parameters: null }
  t.match(checkAnswer({ parameters, checkpointTitle: null }, answer), [{ code: 'faces_not_restored', field: 'restore_faces' }])
})
