import sharp from 'sharp'
import t from 'tap'
import { testImage, small, startBots, type BotService } from './studio.ts'

const bots = await startBots(t)
const words = { user_id: 'ann', prompt: 'a lighthouse', steps: 2, seed: 7 }

/** The red, green and blue of one pixel of an image in base64. */
async function pixel (image: unknown, left: number, top: number): Promise<number[]> {
  const { data } = await sharp(Buffer.from(String(image), 'base64')).removeAlpha()
    .extract({ left, top, width: 1, height: 1 }).raw().toBuffer({ resolveWithObject: true })
  return [...data]
}

async function sizeOf (image: unknown): Promise<string> {
  const { width, height } = await sharp(Buffer.from(String(image), 'base64')).metadata()
  return `${width}x${height}`
}

t.test('an image from an image has its size, unless the request has another', async t => {
  const image = await testImage(100, 60)
  const { asked, path } = await bots.generate('/generate/img2img', { ...words, image, denoising_strength: 0.4 })
  t.equal(path, '/sdapi/v1/img2img')
  t.match(asked, { init_images: [image], resize_mode: 0, denoising_strength: 0.4, width: 96, height: 64 })
  t.notOk('mask' in asked || 'mask_blur' in asked, 'nothing of a mask without one')
  const half = await bots.generate('/generate/img2img', { ...words, image, width: 200 })
  t.match(half.asked, { width: 200, height: 120 }, 'one side gives the other')
  const large = await bots.generate('/generate/img2img', { ...words, image: await testImage(3000, 1500) })
  t.match(large.asked, { width: 1712, height: 856 }, 'as large as models draw well')
  const masked = await bots.generate('/generate/img2img', {
    ...words, image: `data:image/png;base64,${image}`, mask: image
  })
  t.match(masked.asked, {
    init_images: [image],
    mask: image,
    mask_blur: 4,
    inpainting_fill: 1,
    inpaint_full_res: true,
    inpaint_full_res_padding: 0
  })
})

t.test('images have names: an output, that of a job, an https address', async t => {
  const { answer, job } = await bots.generate('/generate/txt2img', words)
  const [url] = job.image_urls as string[]
  const output = String(url).split('/').at(-1) ?? ''
  const byName = { job_id: answer.job_id, index: 0 }
  const bytes = await (await fetch(`${bots.url}/outputs/${output}`)).arrayBuffer()
  const image = Buffer.from(bytes).toString('base64')
  for (const named of [output, byName, { job_id: answer.job_id }]) {
    const { asked } = await bots.generate('/generate/inpaint', { ...words, image: named, mask: named })
    t.match(asked, { init_images: [image], mask: image }, JSON.stringify(named))
  }
  const unit = { model: 'control_v11p_sd15_canny', image: output }
  t.match((await bots.generate('/generate/controlnet', { ...words, controlnet_units: [unit] })).asked,
    { alwayson_scripts: { controlnet: { args: [{ image }] } } })

  const kept = await bots.request('POST', '/presets/ann', { name: 'mine', config: { image: byName } })
  const preset = { user_id: 'ann', prompt: 'x', steps: 2, preset_id: kept.body.preset_id }
  t.match((await bots.generate('/generate/img2img', preset)).asked, { init_images: [image] }, 'a preset keeps it')
  const session = await bots.request('POST', '/sessions/nell/controlnet', unit)
  t.equal(session.status, 200, JSON.stringify(session.body))
  const map = await bots.request('POST', '/controlnet/preprocess', { file: output, processor: 'canny' })
  t.match(map, { status: 200, body: { status: 'success' } })

  const batch = await bots.request('POST', '/generate/batch', {
    user_id: 'ann', base_request: { ...words, image: output }, variations: [{ seed: 1 }, { mask: byName }]
  })
  t.equal(batch.status, 200, JSON.stringify(batch.body))
  for (const id of batch.body.job_ids as string[]) t.match(await bots.ended(id), { status: 'completed' })

  for (const [body, loc, type] of [
    [{ image: { job_id: 'none' } }, ['image', 'job_id'], 'job_not_found'],
    [{ image: { ...byName, index: 9 } }, ['image', 'index'], 'invalid_field_value'],
    [{ image: { ...byName, at: 9 } }, ['image'], 'invalid_field_value'],
    [{ image: output.replace(/^.{8}/, 'ffffffff') }, ['image'], 'image_not_found'],
    [{ image, mask: 'https://127.0.0.1:1/a.png' }, ['mask'], 'invalid_image'],
    [{ image, controlnet_units: [unit, { ...unit, image: { job_id: 'none' } }] }, ['controlnet_units', 1, 'image', 'job_id'], 'job_not_found']
  ] as const) {
    t.match(await bots.request('POST', '/generate/img2img', { ...words, ...body }),
      { status: 422, body: { detail: [{ type, loc: ['body', ...loc], msg: String }] } }, JSON.stringify(loc))
  }
  const far = await bots.request('POST', '/generate/batch', {
    user_id: 'ann', base_request: words, variations: [{}, { image: { job_id: 'none' } }]
  })
  t.match(far, { status: 422, body: { detail: [{ loc: ['body', 'variations', 1, 'image', 'job_id'] }] } })
})

t.test('inpainting needs an image and a mask', async t => {
  const image = await testImage(64, 64)
  const places = async (body: unknown) => {
    const { status, body: { detail } } = await bots.request('POST', '/generate/inpaint', body)
    return [status, (detail as Array<{ loc: string[] }>).map(({ loc }) => loc.join('.'))]
  }
  t.same(await places({ ...words, image }), [422, ['body.mask']])
  t.same(await places({ ...words, mask: image }), [422, ['body.image']])
  t.same(await places({ ...words, mask: image, image: 'no picture' }), [422, ['body.image']])
  t.same(await places({ ...words, mask: image, image: 'http://10.0.0.1/x.png' }), [422, ['body.image']])
  const { asked } = await bots.generate('/generate/inpaint', {
    ...words, image, mask: image, mask_blur: 8, inpainting_fill: 2, inpaint_full_res: false, inpainting_mask_invert: 1
  })
  t.match(asked, {
    mask_blur: 8, inpainting_fill: 2, inpaint_full_res: false, inpainting_mask_invert: 1, denoising_strength: 0.7
  })
})

t.test('outpainting extends the requested sides, and blends them into the image', async t => {
  const image = await testImage(64, 48, '#f00')
  const { asked } = await bots.generate('/generate/outpaint', {
    ...words, image, outpaint_pixels_left: 32, outpaint_pixels_bottom: 20, mask_blur: 4
  })
  t.match(asked, { width: 96, height: 72, inpaint_full_res: false, inpainting_fill: 1, mask_blur: 4, resize_mode: 0 })
  const [wide] = asked.init_images as string[]
  t.same([await sizeOf(wide), await sizeOf(asked.mask)], ['96x72', '96x72'])
  const white = async (left: number, top: number) => (await pixel(asked.mask, left, top))[0] === 255
  const seen = [[0, 0], [35, 0], [36, 0], [95, 0], [95, 43], [95, 44], [40, 71]] as const
  t.same(await Promise.all(seen.map(async ([left, top]) => await white(left, top))),
    [true, true, false, false, false, true, true])
  t.same(await pixel(wide, 0, 0), [255, 0, 0], 'the edge goes on')
  const none = await bots.request('POST', '/generate/outpaint', { ...words, image })
  t.match(none.body.detail, [{ loc: ['body', 'outpaint_pixels_right'], msg: /how many pixels/ }])
})

t.test('the four sides together stay within sizes that models can generate well', async t => {
  const { asked } = await bots.generate('/generate/outpaint', {
    ...words,
    image: await testImage(1600, 1200),
    outpaint_pixels_left: 400,
    outpaint_pixels_right: 400,
    outpaint_pixels_top: 300,
    outpaint_pixels_bottom: 300
  })
  const { width, height } = asked as { width: number, height: number }
  t.ok(width * height <= 1216 * 1216 && width * height > 1_300_000, `${width}x${height}`)
  t.equal(width % 8 + height % 8, 0)
  t.equal(await sizeOf((asked.init_images as string[])[0]), `${width}x${height}`)
})

/** A form as `requests`, curl and URLSession send it. */
async function post (service: BotService, path: string, parts: ReadonlyArray<readonly [string, string | Buffer]>) {
  const form = new FormData()
  for (const [name, value] of parts) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, new Blob([new Uint8Array(value)]), `${name}.png`)
  }
  const response = await fetch(service.url + path, { method: 'POST', body: form })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

async function lastAsked (service: BotService, jobId: unknown): Promise<Record<string, unknown>> {
  const job = await service.ended(jobId)
  if (job.status !== 'completed') throw new Error(String(job.message))
  return service.recorder.generations.at(-1)?.body ?? {}
}

t.test('forms equal JSON: flat fields, one part with everything, units as Python writes them', async t => {
  const file = Buffer.from(await testImage(64, 64), 'base64')
  const flat = await post(bots, '/generate/img2img', [
    ['user_id', 'ann'], ['prompt', 'a lighthouse'], ['steps', '2'], ['cfg_scale', '6.5'], ['checkpoint', ''], ['image', file]
  ])
  t.equal(flat.status, 200, JSON.stringify(flat.body))
  t.match(await lastAsked(bots, flat.body.job_id), { steps: 2, cfg_scale: 6.5, init_images: [file.toString('base64')] })

  const whole = await post(bots, '/generate/img2img', [
    ['request', JSON.stringify({ ...words, steps: 3, denoising_strength: 0.3 })], ['steps', '2'], ['image', file]
  ])
  t.equal(whole.status, 200, JSON.stringify(whole.body))
  t.match(await lastAsked(bots, whole.body.job_id), { steps: 2, denoising_strength: 0.3 })

  const python = '{\'enabled\': True, \'model\': \'control_v11p_sd15_canny\', \'weight\': 0.5, \'preprocessor\': None}'
  const units = await post(bots, '/generate/controlnet', [
    ['user_id', 'ann'], ['prompt', 'it\'s'], ['steps', '2'], ['width', '64'], ['height', '64'],
    ['controlnet_units', python], ['controlnet_units', '{"model": "control_v11f1p_sd15_depth"}'], ['image', file]
  ])
  t.equal(units.status, 200, JSON.stringify(units.body))
  const asked = await lastAsked(bots, units.body.job_id) as { alwayson_scripts: { controlnet: { args: unknown[] } } }
  t.match(asked.alwayson_scripts.controlnet.args, [
    { enabled: true, model: /^control_v11p_sd15_canny/, weight: 0.5, control_mode: 'Balanced', image: file.toString('base64') },
    { enabled: true, model: /^control_v11f1p_sd15_depth/, image: file.toString('base64') }
  ])
  const wrong = await post(bots, '/generate/controlnet', [['user_id', 'ann'], ['prompt', ''], ['controlnet_units', '{\'weight\': 1}']])
  t.match(wrong, { status: 422, body: { detail: [{ type: 'missing', loc: ['body', 'controlnet_units', 0, 'model'] }] } })
  const nothing = await post(bots, '/generate/img2img', [['user_id', 'ann'], ['prompt', 'x']])
  t.match(nothing, { status: 422, body: { detail: [{ type: 'missing', loc: ['body', 'image'] }] } })
  const broken = await post(bots, '/generate/img2img', [['user_id', 'ann'], ['prompt', 'x'], ['request', '{bad'], ['image', file]])
  t.match(broken, { status: 422, body: { detail: [{ type: 'model_attributes_type', loc: ['body', 'request'] }] } })
  const garbage = await fetch(`${bots.url}/generate/img2img`, {
    method: 'POST', body: 'garbage', headers: { 'content-type': 'multipart/form-data; boundary=x' }
  })
  t.match([garbage.status, await garbage.json()], [400, { detail: /cannot be read: Unexpected end of multipart data/ }])
})

t.test('every unit has its own image or the request\'s; without units the session\'s are used', async t => {
  const [own, second, shared] = await Promise.all([testImage(64, 64, '#f00'), testImage(64, 64, '#0f0'), testImage(64, 64, '#00f')])
  const model = 'control_v11p_sd15_canny'
  const { asked, path } = await bots.generate('/generate/controlnet', {
    ...small, image: shared, image1: second, controlnet_units: [{ model, image: own }, { model }, { model }]
  })
  t.equal(path, '/sdapi/v1/txt2img', 'a control image is no image to start from')
  const imagesOf = ({ alwayson_scripts: scripts }: typeof asked) =>
    (scripts as { controlnet: { args: Array<{ image: string }> } }).controlnet.args.map(({ image }) => image)
  t.same(imagesOf(asked), [own, second, shared])

  await bots.request('POST', '/sessions/cora/controlnet', { model, preprocessor: 'canny', weight: 0.6, image: own })
  const remembered = await bots.generate('/generate/txt2img', { ...small, user_id: 'cora' })
  t.same(imagesOf(remembered.asked), [own])
  const without = await bots.generate('/generate/txt2img', { ...small, user_id: 'cora', controlnet_units: [] })
  t.notOk('alwayson_scripts' in without.asked)
  const bad = await bots.request('POST', '/sessions/cora/controlnet', { weight: 3 })
  t.match(bad, { status: 422, body: { detail: [{ loc: ['body', 'model'] }, { loc: ['body', 'weight'] }] } })
  const blind = await bots.request('POST', '/sessions/cora/controlnet', { model, image: 'http://10.0.0.1/x.png' })
  t.match(blind, { status: 422, body: { detail: [{ loc: ['body', 'image'] }] } })
})

t.test('regions become the Regional Prompter\'s arguments, session LoRAs once at the end', async t => {
  await bots.request('POST', '/sessions/rita/loras', { filename: 'film-grain.safetensors', weight: 0.8 })
  const { asked } = await bots.generate('/generate/regional', {
    ...small,
    user_id: 'rita',
    width: 128,
    prompt: 'masterpiece',
    regional_config: { layout: 'quadrants', common_prompt: 'tavern', region1_prompt: 'knight', region2_prompt: 'fire' },
    alwayson_scripts: { 'regional prompter': { args: [false] } }
  })
  t.equal(asked.prompt, 'masterpiece, tavern ADDCOMM knight ADDCOL fire ADDROW knight ADDCOL fire <lora:film-grain:0.8>')
  t.match(asked.alwayson_scripts, { 'regional prompter': { args: [true, false, 'Matrix', 'Columns', 'Mask', 'Prompt', '1,1,1;1,1,1'] } })
  const { status, body } = await bots.request('POST', '/generate/regional', {
    ...small, regional_config: { layout: 'diagonal', region1_prompt: 'a', region2_prompt: 'b' }
  })
  t.match({ status, body }, { status: 422, body: { detail: [{ type: 'string_pattern_mismatch', loc: ['body', 'regional_config', 'layout'] }] } })
})
