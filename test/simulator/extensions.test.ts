import { createHash } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { startBench, type Bench, type Json } from './client.ts'

const infoOf = (json: Json): Json => JSON.parse(String(json.info)) as Json
const extraOf = (json: Json): Json => infoOf(json).extra_generation_params as Json
const imagesOf = (json: Json): string[] => json.images as string[]
const bytesOf = (image = ''): Buffer => Buffer.from(image, 'base64')

/** A short digest of the first image's pixels, without the text in its file. */
async function pixelsOf (json: Json): Promise<string> {
  return createHash('sha1').update(await sharp(bytesOf(imagesOf(json)[0])).raw().toBuffer()).digest('hex')
}

async function drawing (bench: Bench, scripts: Json, more: Json = {}): Promise<Json> {
  const { status, json } = await bench.txt2img({ width: 64, height: 64, steps: 2, alwayson_scripts: scripts, ...more })
  t.equal(status, 200)
  return json
}

async function square (shade: number): Promise<string> {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: { r: shade, g: 0, b: 0 } } })
  return (await picture.png().toBuffer()).toString('base64')
}

const canny = { enabled: true, module: 'canny', model: 'control_v11p_sd15_canny [d14c016b]' }

t.test('ControlNet of A1111', async t => {
  const bench = await startBench(t)
  const image = await square(200)
  const control = async (...args: Json[]) => await drawing(bench, { ControlNet: { args } })
  const plain = await drawing(bench, {})

  await t.test('shows in the image, with a map for each unit behind it', async t => {
    const controlled = await control({ ...canny, image }, { ...canny, enabled: false, image })
    t.equal(imagesOf(controlled).length, 2)
    t.not(await pixelsOf(controlled), await pixelsOf(plain))
    t.match(extraOf(controlled), { 'ControlNet 0': `Module: canny, Model: ${canny.model}, Weight: 1` })
    t.equal(imagesOf(await control({ ...canny, image, save_detected_map: false })).length, 1)
    t.equal(imagesOf(await control({ ...canny, enabled: undefined, image })).length, 1, 'off unless it says so')
    t.equal(imagesOf(await control(...Array.from({ length: 5 }, () => ({ ...canny, image })))).length, 4, 'more than three are cut off')
    const scripts = { controlnet: { args: [{ ...canny, image }] } }
    const hires = await drawing(bench, scripts, { enable_hr: true, denoising_strength: 0.5 })
    t.equal(imagesOf(hires).length, 3, 'two maps with hires fix')
  })

  await t.test('accepts names and labels, and models by a part of their name', async t => {
    for (const unit of [
      { module: 'depth', model: 'depth' }, { module: 'depth_midas', model: 'CANNY' }, { module: 'reference_only', model: undefined }
    ]) {
      t.equal(imagesOf(await control({ ...canny, ...unit, image })).length, 2)
    }
    t.equal(imagesOf(await control({ ...canny, image: { image, mask: image } })).length, 2)
    t.equal(imagesOf(await control({ ...canny, input_image: image })).length, 2)
  })

  await t.test('fails the request for a unit that it cannot parse', async t => {
    const wrong: Array<[Json, RegExp]> = [
      [{ control_mode: 0 }, /not a valid enumeration member; permitted: 'Balanced'/],
      [{ resize_mode: 1 }, /Unrecognized resize mode: 1/],
      [{ hr_option: 0 }, /enumeration/],
      [{ module: 'nothing' }, /not found in supported modules/],
      [{ weight: 3 }, /between 0 and 2/],
      [{ guidance_start: 0.8, guidance_end: 0.2 }, /guidance_start\(0.8\) > guidance_end\(0.2\)/],
      [{ guidance_end: 2 }, /between 0 and 1/],
      [{ weight: '1' }, /not a valid float/],
      [{ mask: image, mask_image: image }, /same field/],
      [{ input_image: image }, /Both image/]
    ]
    for (const [unit, message] of wrong) {
      const args = [{ ...canny, image, ...unit }]
      const { status, json } = await bench.txt2img({ alwayson_scripts: { controlnet: { args } } })
      t.equal(status, 500)
      t.match(json, { error: /ValidationError|AssertionError/, errors: message })
    }
  })

  await t.test('hides later failures, and returns the image without control', async t => {
    const mask = (await sharp(bytesOf(image)).resize(32, 32).png().toBuffer()).toString('base64')
    for (const unit of [
      { model: 'missing' }, { model: 'None' }, { image: undefined }, { image: 'aGFsbG8=' }, { mask_image: mask }, { module: 'inpaint_only' }
    ]) {
      const json = await control({ ...canny, image, ...unit })
      t.equal(await pixelsOf(json), await pixelsOf(plain), JSON.stringify(Object.keys(unit)))
      t.match(extraOf(json), { 'ControlNet 0': /^Module/ }, 'written before anything was loaded')
    }
    await bench.post('/simulator/faults', { faults: ['script-error'] })
    t.equal(await pixelsOf(await control({ ...canny, image })), await pixelsOf(plain))
  })

  await t.test('lists names or labels, and detects with masks where needed', async t => {
    const { json } = await bench.get('/controlnet/module_list?alias_names=true')
    t.ok((json.module_list as string[]).includes('depth_midas'))
    t.match(json.module_detail, { depth_midas: { model_free: false, sliders: [{ name: 'Resolution', value: 512 }] } })
    const detect = async (body: Json) => await bench.post('/controlnet/detect', { controlnet_input_images: [image], ...body })
    t.match(await detect({ controlnet_module: 'inpaint_only' }), { status: 422, json: { detail: /requires `controlnet_masks`/ } })
    t.match(await detect({ controlnet_module: 'inpaint_only', controlnet_masks: [image] }), { status: 200 })
    t.match(await detect({ controlnet_module: 'ip-adapter-auto' }), { status: 422, json: { detail: 'Module not supported' } })
    const inverted = await detect({ controlnet_module: 'invert' })
    const { dominant } = await sharp(bytesOf(imagesOf(inverted.json)[0])).stats()
    t.ok(dominant.r < 80 && dominant.g > 200)
  })
})

t.test('ControlNet of Forge', async t => {
  const bench = await startBench(t, { flavor: 'forge' })
  const image = await square(200)
  const control = async (unit: Json) => await drawing(bench, { ControlNet: { args: [{ ...canny, image, ...unit }] } })
  const plain = await drawing(bench, {})
  t.equal(imagesOf(await control({ enabled: undefined, control_mode: 0, resize_mode: 1 })).length, 2, 'on unless it says otherwise')
  for (const unit of [
    { model: 'canny' }, { module: 'depth' }, { image: undefined, input_image: image }, { image: { image } }, { module: 'nothing' }
  ]) t.equal(await pixelsOf(await control(unit)), await pixelsOf(plain), JSON.stringify(Object.keys(unit)))
  t.equal(imagesOf(await control({ module: 'normalbae' })).length, 2)
  t.equal((await bench.get('/controlnet/version')).status, 404)
  t.match((await bench.get('/controlnet/model_list')).json, { model_list: ['None'] })
  t.match((await bench.get('/controlnet/module_list')).json, { module_list: ['None', 'softedge_pidinet', 'shuffle'] })
  t.notOk('module_detail' in (await bench.get('/controlnet/module_list')).json)
  const body = { controlnet_module: 'canny', controlnet_input_images: [image] }
  t.match(await bench.post('/controlnet/detect', { ...body, controlnet_processor_res: -1 }), { status: 500 }, 'numbers are used as they are')
  t.match(await bench.post('/controlnet/detect', body), { status: 200, json: { info: 'Success' } })
})

t.test('the Regional Prompter', async t => {
  const bench = await startBench(t)
  const title = 'Regional Prompter'
  const args = (ratios: unknown, mode = 'Columns', useCommon = false) =>
    [true, false, 'Matrix', mode, 'Mask', 'Prompt', ratios, '0.2', false, useCommon, false, 'Attention', true, '0', '0', '0.4', '', '0', '0', false]
  const draw = async (prompt: string, list: unknown[]) => await drawing(bench, { [title]: { args: list } }, { prompt })

  /** A digest of the pixels in a part of the image; its edges are fractions of the size. */
  async function part (json: Json, left: number, top: number, width: number, height: number): Promise<string> {
    const area = { left: left * 64, top: top * 64, width: width * 64, height: height * 64 }
    const pixels = await sharp(bytesOf(imagesOf(json)[0])).extract(area).raw().toBuffer()
    return createHash('sha1').update(pixels).digest('hex')
  }

  await t.test('generates each region from its own words', async t => {
    const one = await draw('snow ADDCOL desert', args('1,1'))
    const other = await draw('snow ADDCOL forest at night', args('1,1'))
    t.equal(await part(one, 0, 0, 0.5, 1), await part(other, 0, 0, 0.5, 1), 'the left half stays')
    t.not(await part(one, 0.5, 0, 0.5, 1), await part(other, 0.5, 0, 0.5, 1), 'the right half changes')
    t.match(extraOf(one), { 'RP Active': true, 'RP Ratios': '1,1', 'RP Options': /disable convert/ })
    t.match(infoOf(one), { prompt: 'snow ADDCOL desert', infotexts: [/RP Active: True/] })

    const right = args('1,1,1;1,1,1')
    const four = await draw('a ADDCOL b ADDROW c ADDCOL d', right)
    const changed = await draw('a ADDCOL b ADDROW c ADDCOL night', right)
    t.equal(await part(four, 0, 0, 1, 0.5), await part(changed, 0, 0, 1, 0.5))
    t.equal(await part(four, 0, 0.5, 0.5, 0.5), await part(changed, 0, 0.5, 0.5, 0.5))
    t.not(await part(four, 0.5, 0.5, 0.5, 0.5), await part(changed, 0.5, 0.5, 0.5, 0.5))
    const seed = args('2,2', 'Vertical')
    const thirds = await draw('a ADDCOL b ADDROW c ADDCOL d', seed)
    t.not(await part(thirds, 0.75, 0, 0.25, 0.5), await part(await draw('a ADDCOL b ADDROW c ADDCOL night', seed), 0.75, 0, 0.25, 0.5),
      'the arguments of the old bot put the fourth region over the full height')
  })

  await t.test('has the extension\'s own bugs', async t => {
    const whole = await drawing(bench, {}, { prompt: 'a LAND ADDCOL b' })
    const plain = await draw('a LAND ADDCOL b', [false, ...args('1,1').slice(1)])
    t.equal(await pixelsOf(plain), await pixelsOf(whole), 'not active')
    t.not(await pixelsOf(await draw('a LAND ADDCOL b', args('1,1'))), await pixelsOf(whole))
    const converted = args('1,1')
    converted[12] = false
    t.not(await pixelsOf(await draw('a LAND ADDCOL b', converted)), await pixelsOf(await draw('a LAND ADDCOL b', args('1,1'))), 'AND inside a word divides')
    const flipped = await draw('snow ADDCOL a addphoto', args('1,1'))
    t.equal(await pixelsOf(flipped), await pixelsOf(await drawing(bench, {}, { prompt: 'snow ADDCOL a addphoto' })), 'ADDP inside a word stops the matrix')
    t.match(extraOf(flipped), { 'RP Active': true })
    t.notOk('RP Active' in extraOf(await draw('a ADDCOL b', args('1,1').map((value, index) => index === 12 ? 7 : value))), 'an exception before it began')
    t.notOk('RP Active' in extraOf(await draw('no keyword', args('1,1'))))
    await bench.post('/simulator/faults', { faults: ['script-error'] })
    t.notOk('RP Active' in extraOf(await draw('a ADDCOL b', args('1,1'))))
    t.match(extraOf(await draw('a ADDCOL b', args('1,1').slice(0, 17))), { 'RP Flip': false }, 'missing arguments are those of the page')
  })

  const scripts = (await bench.get('/sdapi/v1/scripts')).json
  t.ok((scripts.txt2img as string[]).includes('regional prompter'))
  const info = (await bench.get('/sdapi/v1/script-info')).json as unknown as Array<{ name: string, args: unknown[] }>
  t.equal(info.find(({ name }) => name === 'regional prompter')?.args.length, 20)
  const without = await startBench(t, { regionalPrompter: false })
  t.match(await without.txt2img({ alwayson_scripts: { [title]: { args: [] } } }), { status: 422, json: { detail: `Script '${title}' not found` } })
})
