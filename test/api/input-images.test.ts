import { randomBytes } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { quick, startService } from '../helper.ts'

t.test('images of all kinds start jobs, and unsuitable ones are rejected before the queue', async t => {
  const service = await startService(t)
  const start = { ...quick, prompt: 'a cat', denoising_strength: 0.5 }
  const noise = sharp(randomBytes(256 * 192 * 3), { raw: { width: 256, height: 192, channels: 3 } })
  const tiff = await noise.clone().tiff({ compression: 'none' }).toBuffer()
  const gif = await sharp({ create: { width: 32, height: 32, channels: 3, background: '#36a' } }).gif().toBuffer()
  t.ok(tiff.length > 100_000, 'one of them is stored while it arrives')
  for (const bytes of [tiff, gif]) {
    const job = await service.until(await service.submit({ ...start, init_images: [bytes.toString('base64')] }), 'completed')
    t.match(job.generation_params, { init_images: [{ $media: /\.png$/ }] })
  }
  const dropIn = await service.request('POST', '/sdapi/v1/img2img', { ...start, init_images: [gif.toString('base64')] })
  t.equal(dropIn.status, 200)

  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>')
  const heic = Buffer.concat([Buffer.from([0, 0, 0, 0x18]), Buffer.from('ftypheic\0\0\0\0mif1heic'), Buffer.alloc(64)])
  const png = await noise.clone().png().toBuffer()
  const cut = Buffer.concat([png.subarray(0, png.length / 2), png.subarray(-12)])
  const wrong: Array<[string, RegExp]> = [
    ['', /empty/], [svg.toString('base64'), /SVG/], [heic.toString('base64'), /HEIC/], [cut.toString('base64'), /cannot be decoded/]
  ]
  for (const [image, sentence] of wrong) {
    const answer = await service.request('POST', '/api/v2/generate', {
      target_server_alias: 'Main', generation_params: { ...start, init_images: [image] }
    })
    t.match(answer, { status: 422, body: { error: 'invalid_image', message: sentence, details: { field: /^generation_params\.init_images\.0$/ } } })
    const asA1111 = await service.request('POST', '/sdapi/v1/img2img', { ...start, init_images: [image] })
    t.match(asA1111, { status: 500, body: { detail: 'Invalid encoded image' } }, 'as A1111 says it')
  }
})
