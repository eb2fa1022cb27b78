import sharp from 'sharp'
import t from 'tap'
import { readPngTexts, readUserComment } from '../../src/simulator/images/png.ts'
import { imagesOf, infoOf, type Json, type Reply, small, startBench } from './client.ts'

async function sizesOf (reply: Reply): Promise<string[]> {
  const sizes = []
  for (const image of imagesOf(reply)) {
    const { width, height } = await sharp(image).metadata()
    sizes.push(`${width}x${height}`)
  }
  return sizes
}

const infoKeys = [
  'prompt', 'all_prompts', 'negative_prompt', 'all_negative_prompts', 'seed', 'all_seeds', 'subseed', 'all_subseeds',
  'subseed_strength', 'width', 'height', 'sampler_name', 'cfg_scale', 'steps', 'batch_size', 'restore_faces',
  'face_restoration_model', 'sd_model_name', 'sd_model_hash', 'sd_vae_name', 'sd_vae_hash', 'seed_resize_from_w',
  'seed_resize_from_h', 'denoising_strength', 'extra_generation_params', 'index_of_first_image', 'infotexts', 'styles',
  'job_timestamp', 'clip_skip', 'is_using_inpainting_conditioning', 'version'
]

t.test('an answer has the keys of A1111 1.10.1 and echoes the request with its defaults', async t => {
  const bench = await startBench(t, { checkpoints: ['tiny-a.safetensors'] })
  const reply = await bench.txt2img({ negative_prompt: 'blurry', unheard_of: 1, steps: '6' })
  t.equal(reply.status, 200)
  t.same(Object.keys(reply.json), ['images', 'parameters', 'info'])
  const parameters = reply.json.parameters as Json
  t.equal(Object.keys(parameters).length, 55)
  t.match(parameters, { seed: 123, steps: 6, sampler_index: 'Euler', scheduler: null, hr_scale: 2, script_args: [] })
  t.notOk('unheard_of' in parameters, 'unknown fields are dropped')
  const info = infoOf(reply)
  t.same(Object.keys(info), infoKeys)
  const hash = String(info.sd_model_hash)
  t.match(hash, /^[0-9a-f]{10}$/)
  t.same(info.infotexts, [
    'a lighthouse at dusk\nNegative prompt: blurry\nSteps: 6, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, ' +
    `Seed: 123, Size: 64x64, Model hash: ${hash}, Model: tiny-a, Version: 1.10.1`
  ])
  t.match(info.job_timestamp, /^\d{14}$/)
  const [image] = imagesOf(reply) as [Buffer]
  t.equal(readPngTexts(image).parameters, (info.infotexts as string[])[0], 'the infotext is inside the image')
  t.same(await sizesOf(reply), ['64x64'])
})

t.test('the same request gives the same bytes, and another prompt, seed, size or checkpoint others', async t => {
  const bench = await startBench(t, { checkpoints: ['one.safetensors', 'two.safetensors'] })
  const base = await bench.txt2img()
  const pixels = async (request: Json): Promise<string> => {
    const [image] = imagesOf(await bench.txt2img(request)) as [Buffer]
    return (await sharp(image).raw().toBuffer()).toString('base64')
  }
  t.same((await bench.txt2img()).json.images, base.json.images)
  const first = await pixels({})
  for (const change of [{ prompt: 'a forest' }, { seed: 124 }, { override_settings: { sd_model_checkpoint: 'two' } }]) {
    t.not(await pixels(change), first, JSON.stringify(change))
  }
  const batch = await bench.txt2img({ batch_size: 2 })
  t.same((batch.json.images as string[])[0], (base.json.images as string[])[0], 'a batch begins with the single image')
})

t.test('seeds count up, stay if only the variation differs, and -1 becomes a real one', async t => {
  const bench = await startBench(t)
  const four = infoOf(await bench.txt2img({ batch_size: 2, n_iter: 2 }))
  t.same(four.all_seeds, [123, 124, 125, 126])
  const variation = infoOf(await bench.txt2img({ batch_size: 3, subseed: 5, subseed_strength: 0.4 }))
  t.same([variation.all_seeds, variation.all_subseeds], [[123, 123, 123], [5, 6, 7]])
  const random = await bench.txt2img({ seed: -1 })
  t.equal((random.json.parameters as Json).seed, -1, 'the echo keeps -1')
  t.ok(Number(infoOf(random).seed) >= 0)
  t.equal(infoOf(await bench.txt2img({ seed: -7 })).seed, -7, 'other negative seeds are taken literally')
})

t.test('a grid comes first only with save_images, and info says where the other images start', async t => {
  const bench = await startBench(t)
  const plain = await bench.txt2img({ batch_size: 2, n_iter: 2 })
  t.equal(imagesOf(plain).length, 4)
  t.equal(infoOf(plain).index_of_first_image, 0)
  const saved = await bench.txt2img({ batch_size: 2, n_iter: 2, save_images: true })
  t.same(await sizesOf(saved), ['128x128', '64x64', '64x64', '64x64', '64x64'])
  t.equal(infoOf(saved).index_of_first_image, 1)
  t.equal((infoOf(saved).infotexts as string[]).length, 5)
  t.equal(imagesOf(await bench.txt2img({ save_images: true })).length, 1, 'no grid of a single image')
  const unsent = await bench.txt2img({ send_images: false })
  t.same(unsent.json.images, [])
  t.equal((infoOf(unsent).infotexts as string[]).length, 1)
})

t.test('sizes are rounded down to eighths, and hires multiplies them while info keeps the first pass', async t => {
  const bench = await startBench(t)
  const odd = await bench.txt2img({ width: 100, height: 70 })
  t.same(await sizesOf(odd), ['96x64'])
  t.match(infoOf(odd), { width: 100, height: 70 })
  const hires = await bench.txt2img({ enable_hr: true, denoising_strength: 0.5, hr_upscaler: 'Latent' })
  t.same(await sizesOf(hires), ['128x128'])
  t.match(infoOf(hires), { width: 64, extra_generation_params: { 'Hires upscale': 2, 'Hires upscaler': 'Latent' } })
  t.match((infoOf(hires).infotexts as string[])[0], 'Denoising strength: 0.5, Hires upscale: 2.0, Hires upscaler: Latent')
  const resized = await bench.txt2img({ enable_hr: true, denoising_strength: 0.5, hr_resize_x: 96, hr_resize_y: 80 })
  t.same(await sizesOf(resized), ['96x80'])
})

t.test('img2img starts from its images, hides them in the echo and follows the mask', async t => {
  const bench = await startBench(t)
  const white = (await sharp({ create: { width: 32, height: 32, channels: 3, background: '#fff' } }).png().toBuffer())
    .toString('base64')
  const black = (await sharp({ create: { width: 64, height: 64, channels: 3, background: '#000' } }).png().toBuffer())
    .toString('base64')
  const call = async (request: Json): Promise<Reply> =>
    await bench.post('/sdapi/v1/img2img', small({ init_images: [white], denoising_strength: 0.5, ...request }))
  const plain = await call({})
  t.equal(Object.keys(plain.json.parameters as Json).length, 57)
  t.match(plain.json.parameters, { init_images: null, mask: null })
  t.same((await call({ include_init_images: true })).json.parameters,
    { ...plain.json.parameters as Json, init_images: [white], include_init_images: true })
  t.same((await call({ init_images: [`data:image/png;base64,${white}`] })).json.images, plain.json.images)
  const masked = imagesOf(await call({ mask: black }))[0] as Buffer
  t.same([...await sharp(masked).raw().toBuffer()].every(value => value === 255), true, 'a black mask changes nothing')
  t.match(infoOf(await call({ mask: black })).extra_generation_params,
    { 'Mask blur': 4, 'Inpaint area': 'Only masked', 'Masked content': 'fill' })
})

t.test('the format option sets the format, and JPEG and WebP carry the infotext as EXIF', async t => {
  const bench = await startBench(t)
  for (const [option, format] of [['jpg', 'jpeg'], ['webp', 'webp']]) {
    await bench.post('/sdapi/v1/options', { samples_format: option })
    const reply = await bench.txt2img({ prompt: 'größer 漢字' })
    const image = imagesOf(reply)[0] as Buffer
    const { format: found, exif, width } = await sharp(image).metadata()
    t.same([found, width], [format, 64])
    t.equal(readUserComment(exif ?? Buffer.alloc(0)), (infoOf(reply).infotexts as string[])[0])
    t.match((await bench.post('/sdapi/v1/png-info', { image: image.toString('base64') })).json,
      { parameters: { Prompt: 'größer 漢字', Seed: '123' } })
  }
  await bench.post('/sdapi/v1/options', { samples_format: 'gif' })
  t.match(await bench.txt2img(), { status: 500, json: { error: 'HTTPException', detail: 'Invalid image format' } })
})

t.test('samplers are never rejected, only replaced', async t => {
  const bench = await startBench(t)
  const used = async (sampler: string, scheduler: string | null = null): Promise<string> => {
    const info = infoOf(await bench.txt2img({ sampler_name: sampler, scheduler }))
    const schedule = /Schedule type: ([^,]+)/.exec((info.infotexts as string[])[0] ?? '')
    return `${String(info.sampler_name)} / ${schedule?.[1]}`
  }
  t.equal(await used('Euler'), 'Euler / Automatic')
  t.equal(await used('Euler', 'Karras'), 'Euler / Karras')
  t.equal(await used('Euler', 'nope'), 'Euler / Automatic')
  t.equal(await used('Euler Karras'), 'Euler / Karras')
  t.equal(await used('DPM++ 2M Karras'), 'DPM++ 2M / Karras')
  t.equal(await used('k_euler_a'), 'DPM++ 2M / Karras')
  t.equal(await used('euler a'), 'DPM++ 2M / Karras')
  t.equal(await used('Euler a SGM Uniform'), 'DPM++ 2M / Uniform')
  t.equal(infoOf(await bench.txt2img({ sampler_name: null })).sampler_name, 'Euler', 'without a name: sampler_index')
})

t.test('an infotext fills in missing fields, and ControlNet appends its maps', async t => {
  const bench = await startBench(t)
  const text = 'a red barn\nNegative prompt: fog\nSteps: 4, Sampler: Heun, CFG scale: 3.5, Seed: 77, Size: 72x64, Model: other'
  const reply = await bench.post('/sdapi/v1/txt2img', { infotext: text, steps: 3 })
  t.match(infoOf(reply), {
    prompt: 'a red barn',
    negative_prompt: 'fog',
    steps: 3,
    sampler_name: 'Heun',
    cfg_scale: 3.5,
    seed: 77,
    width: 72,
    sd_model_name: 'dreamscape-v8'
  })
  const [image] = reply.json.images as [string]
  const controlled = await bench.txt2img({
    alwayson_scripts: { ControlNet: { args: [{ enabled: true, module: 'canny', model: 'canny', image }, { enabled: false, image }] } }
  })
  t.equal(imagesOf(controlled).length, 2)
  t.match(infoOf(controlled).extra_generation_params, { 'ControlNet 0': /Module: canny/ })
  t.match(await bench.post('/controlnet/detect', { controlnet_module: 'canny' }),
    { status: 422, json: { detail: 'No image selected' } })
  const detected = await bench.post('/controlnet/detect', { controlnet_module: 'canny', controlnet_input_images: [image] })
  t.match(detected.json, { info: 'Success', images: [String] })
})

t.test('scripts can make more images than requested', async t => {
  const bench = await startBench(t)
  const matrix = await bench.txt2img({ prompt: 'a barn|snow|night', script_name: 'Prompt Matrix', script_args: [] })
  t.equal(imagesOf(matrix).length, 5)
  t.match(infoOf(matrix), {
    index_of_first_image: 1,
    all_prompts: ['a barn', 'a barn, snow', 'a barn, night', 'a barn, snow, night'],
    all_seeds: [123, 123, 123, 123]
  })
  const lines = await bench.txt2img({
    prompt: 'photo of', script_name: 'prompts from file or textbox', script_args: [true, false, 'start', 'a cat\n\na dog']
  })
  t.equal(imagesOf(lines).length, 2)
  t.match(infoOf(lines), { all_prompts: ['photo of a cat', 'photo of a dog'], all_seeds: [123, 124] })
})

t.test('extras answer with the images and words of A1111', async t => {
  const bench = await startBench(t)
  const [image] = (await bench.txt2img()).json.images as [string]
  const upscaled = await bench.post('/sdapi/v1/extra-single-image', { image, upscaling_resize: 2, upscaler_1: 'Lanczos' })
  t.equal(upscaled.json.html_info, '<p>Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos</p>')
  t.equal((await sharp(Buffer.from(String(upscaled.json.image), 'base64')).metadata()).width, 128)
  const batch = await bench.post('/sdapi/v1/extra-batch-images', { imageList: [{ data: image, name: 'a' }, { data: image, name: 'b' }] })
  t.equal((batch.json.images as string[]).length, 2)
  const info = (await bench.post('/sdapi/v1/png-info', { image })).json
  t.same(Object.keys(info), ['info', 'items', 'parameters'])
  t.match(info.parameters, { Steps: '6', 'Size-1': '64', 'CFG scale': '7.0', 'Clip skip': '1', 'Masked area padding': 32 })
  t.match((await bench.post('/sdapi/v1/interrogate', { image, model: 'clip' })).json, { caption: String })
  t.match(await bench.post('/sdapi/v1/interrogate', { image, model: 'x' }), { status: 404, json: { detail: 'Model not found' } })
  t.match((await bench.post('/sdapi/v1/extra-single-image', { image, upscaling_resize: 0, resize_mode: 5 })).json, {
    detail: [
      { loc: ['body', 'resize_mode'], type: 'value_error.const', ctx: { given: 5, permitted: [0, 1] } },
      { loc: ['body', 'upscaling_resize'], type: 'value_error.number.not_gt', ctx: { limit_value: 0 } }
    ]
  })
})
