import t from 'tap'
import { BotControlNetUnit } from '../../schemas/bots-generation.ts'
import { checkAnswer } from '../../src/a1111/check-answer.ts'
import type { Search } from '../../src/a1111/resolve.ts'
import { commonUnit, findControlNetModule, withControlNet } from '../../src/a1111/controlnet.ts'
import { controlNetUnits, type RequestImages } from '../../src/bots/controlnet.ts'
import { readFields } from '../../src/bots/read-fields.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { models, modulesOf } from '../../src/simulator/controlnet/lists.ts'
import { readA1111Unit, readForgeUnit } from '../../src/simulator/controlnet/units.ts'
import { checkedAt, inventoryOf } from '../a1111/inventory.ts'
import fc from '../property.ts'

const unit = (given: Record<string, unknown>) => readFields(BotControlNetUnit, { model: 'canny', ...given })
const units = (given: Array<Record<string, unknown>>, pictures: RequestImages = { image: 'A' }) =>
  controlNetUnits(given.map(unit), pictures)

const lists = {
  a1111: {
    controlNetModels: models, controlNetModules: [...new Set(modulesOf('a1111').flatMap(({ name, label }) => [name, label]))]
  },
  forge: { controlNetModels: ['None', ...models], controlNetModules: modulesOf('forge').map(({ label }) => label) }
}
type Flavor = keyof typeof lists

/** A unit in the form that a server gets. */
function sent (flavor: Flavor, given: Record<string, unknown>, most: number | null = null): Record<string, unknown> {
  const settle = <Found>({ wanted, field, find }: Search<Found>): Found => {
    const found = find()
    if (found === null) throw new ServiceError('model_not_found', wanted, { field })
    return found
  }
  const parameters = { alwayson_scripts: { ControlNet: { args: [given] } } }
  const admitted = withControlNet(parameters, { ...lists[flavor], controlNetUnits: most, missing: [] }, settle)
  const { ControlNet: script } = admitted.alwayson_scripts as { ControlNet: { args: Array<Record<string, unknown>> } }
  return script.args[0] ?? {}
}

t.test('a minimal unit becomes complete, for each kind of server', async t => {
  const [least] = units([{ model: 'control_canny-fp16', preprocessor: 'canny' }])
  const whole = {
    enabled: true,
    module: 'canny',
    model: 'control_canny-fp16 [e3fe7712]',
    weight: 1,
    image: 'A',
    resize_mode: 'Crop and Resize',
    control_mode: 'Balanced',
    processor_res: 512,
    threshold_a: 100,
    threshold_b: 200,
    guidance_start: 0,
    guidance_end: 1,
    pixel_perfect: false,
    save_detected_map: true
  }
  t.strictSame(sent('a1111', least ?? {}), whole)
  t.strictSame(sent('forge', least ?? {}), whole)
})

t.test('each unit has its own image, and a mask only if its preprocessor inpaints', async t => {
  const pictures = { image: 'A', images: ['B', null], mask: 'M' }
  const given = [{ image: 'own' }, {}, { preprocessor: 'inpaint_only' }, { enabled: false }, { preprocessor: 'canny', mask: 'N' }]
  const images = units([{ preprocessor: 'canny' }, ...given], pictures).map(({ image, mask_image: mask }) => [image, mask])
  t.strictSame(images, [['B', undefined], ['own', undefined], ['A', undefined], ['A', 'M'], ['A', 'N']])
  t.throws(() => units([{}, {}], { images: ['A'] }), { code: 'invalid_field_value', details: { field: 'controlnet_units.1.image' } })
  t.strictSame(units([{}], { startsFromImage: true }).map(unit => 'image' in unit), [false], 'img2img lends its own')
  t.equal(units(Array.from({ length: 10 }, (_, index) => ({ image: `${index}` }))).length, 10)
})

t.test('numbers become the words that current servers understand', async t => {
  for (const [number, word] of ['Balanced', 'My prompt is more important', 'ControlNet is more important'].entries()) {
    t.equal(units([{ control_mode: number }])[0]?.control_mode, word)
  }
  for (const [given, word] of [[0, 'Just Resize'], [2, 'Resize and Fill'], ['scale to fit (inner fit)', 'Crop and Resize'], [null, 'Crop and Resize']]) {
    t.equal(units([{ resize_mode: given }])[0]?.resize_mode, word)
  }
  t.throws(() => units([{ resize_mode: 'Upside down' }]), { message: /Just Resize/, details: { field: 'controlnet_units.0.resize_mode' } })
  t.throws(() => units([{ guidance_start: 0.8, guidance_end: 0.3 }]), { code: 'invalid_field_value', details: { field: 'controlnet_units.0.guidance_start' } })
})

t.test('a unit is understood in the notation of clients of any age', async t => {
  const common = (given: Record<string, unknown>) => commonUnit(given, 'unit')
  t.match(common({ input_image: 'A', mask: 'M', lowvram: true, hr_option: 1 }), {
    enabled: true, image: 'A', mask_image: 'M', low_vram: true, hr_option: 'Low res only', input_image: undefined, mask: undefined
  })
  t.match(common({ image: { image: 'A', mask: 'M' } }), { image: 'A', mask_image: 'M' })
  t.match(common({ image: ['A', 'M'] }), { image: 'A', mask_image: 'M' })
  const several = [{ image: 'A', mask: 'M' }, { image: 'B', mask: 'N' }]
  t.strictSame(common({ image: several }).image, several, 'several images in one unit stay as they are')
  t.throws(() => common({ weight: 3 }), { code: 'invalid_field_value', details: { field: 'unit.weight' } })
})

t.test('preprocessors can be named by any of their names', async t => {
  const table: Array<[string, string | null, string | null]> = [
    ['depth', 'depth', 'depth_midas'],
    ['Depth_MiDaS', 'depth_midas', 'depth_midas'],
    ['normal', 'normal_bae', 'normalbae'],
    ['normalbae', 'normal_bae', 'normalbae'],
    ['seg', 'seg_ofade20k', 'seg_ofade20k'],
    ['scribble', 'scribble_pidinet', 'scribble_pidinet'],
    ['lineart', 'lineart', 'lineart_realistic'],
    ['invert', 'invert', 'invert (from white bg & black line)'],
    ['softedge', 'softedge_pidinet', 'softedge_pidinet'],
    ['none', 'none', 'None'],
    ['constructor', null, null]
  ]
  for (const [wanted, a1111, forge] of table) {
    t.equal(findControlNetModule(wanted, lists.a1111.controlNetModules), a1111, wanted)
    t.equal(findControlNetModule(wanted, lists.forge.controlNetModules), forge, wanted)
  }
})

t.test('without valid thresholds from the client, the preprocessor\'s own are used', async t => {
  const thresholds = (given: Record<string, unknown>) => {
    const { threshold_a: a, threshold_b: b } = sent('forge', { model: 'canny', ...given })
    return [a, b]
  }
  t.strictSame(thresholds({ module: 'canny', threshold_a: 50, threshold_b: 60 }), [50, 60])
  t.strictSame(thresholds({ module: 'mlsd' }), [0.1, 0.1], 'Forge would make 0 of them')
  t.strictSame(thresholds({ module: 'mlsd', threshold_a: 100, threshold_b: 200 }), [0.1, 0.1])
  t.strictSame(thresholds({ module: 'threshold', threshold_a: -1 }), [127, undefined])
  t.strictSame(thresholds({ module: 'openpose', threshold_a: 100 }), [100, undefined], 'no slider: as it was given')
})

t.test('missing names, and units beyond the server\'s number, get an error', async t => {
  const field = (flavor: Flavor, given: Record<string, unknown>, most?: number): unknown => {
    try {
      sent(flavor, given, most)
    } catch (error) {
      return error instanceof ServiceError && error.details.field
    }
    return null
  }
  t.equal(field('a1111', { model: 'nothing' }), 'alwayson_scripts.ControlNet.args.0.model')
  t.equal(field('forge', { model: 'canny', module: 'nothing' }), 'alwayson_scripts.ControlNet.args.0.module')
  t.equal(field('a1111', { model: 'canny' }, 0), 'alwayson_scripts.ControlNet.args.0')
  t.equal(sent('a1111', { model: 'SD15_CANNY' }).model, 'control_v11p_sd15_canny [d14c016b]')
  t.equal(sent('forge', { model: 'canny' }).model, 'control_canny-fp16 [e3fe7712]', 'the shortest that contains it')
  t.match([sent('a1111', { model: 'None' }), sent('forge', {})], [{ model: 'None', module: 'none' }, { module: 'None' }])

  const at = inventoryOf({
    scripts: { txt2img: ['controlnet'], img2img: [] }, ...lists.a1111, controlNetUnits: 1, missing: ['checkpoints', 'samplers', 'schedulers']
  })
  const two = { prompt: 'x', alwayson_scripts: { ControlNet: { args: [{ model: 'canny' }, { model: 'canny' }] } } }
  t.throws(() => checkedAt(two, { at }), { code: 'server_capability', message: /accepts 1 ControlNet unit/ })
  const { parameters, warnings } = checkedAt(two, { at, onMissing: 'ignore' })
  t.match(warnings, [{ code: 'server_capability', message: /left out/ }])
  t.equal((parameters.alwayson_scripts as { controlnet: { args: unknown[] } }).controlnet.args.length, 1)
})

t.test('no unit that we accept is rejected by an extension', async t => {
  const anyUnit = fc.record({
    model: fc.constantFrom('canny', 'control_depth-fp16', 'control_v11p_sd15_canny [d14c016b]'),
    preprocessor: fc.constantFrom(null, 'canny', 'depth', 'normal', 'seg', 'mlsd', 'OpenPose', 'inpaint', 'reference_only'),
    weight: fc.integer({ min: 0, max: 20 }).map(tenth => tenth / 10),
    guidance_start: fc.constantFrom(0, 0.5),
    guidance_end: fc.constantFrom(0.5, 1),
    control_mode: fc.integer({ min: 0, max: 2 }),
    resize_mode: fc.constantFrom(null, 0, 1, 2, 'Just Resize'),
    threshold_a: fc.option(fc.integer({ min: -500, max: 500 })),
    mask: fc.constantFrom(null, 'M')
  })
  fc.assert(fc.property(anyUnit, given => {
    const [made = {}] = units([given])
    const a1111 = readA1111Unit(sent('a1111', made))
    const forge = readForgeUnit(sent('forge', made))
    t.match(a1111, { image: 'A', weight: given.weight })
    t.match(forge, { image: 'A', weight: given.weight })
    t.ok(modulesOf('forge').some(({ label }) => label === forge?.module))
    t.ok(models.includes(forge?.model ?? ''))
  }), { numRuns: 200 })
})

t.test('an image without the effect of ControlNet is recognized', async t => {
  const codes = (scripts: Record<string, unknown>, imageCount: number, extra: Record<string, unknown>) => {
    const asked = { parameters: { batch_size: 1, n_iter: 1, alwayson_scripts: scripts }, checkpointTitle: null }
    const info = { all_seeds: [1], extra_generation_params: extra }
    return checkAnswer(asked, { imageCount, info, parameters: null }).map(({ code }) => code)
  }
  const control = (...args: Array<Record<string, unknown>>) => ({ controlnet: { args } })
  const read = { 'ControlNet 0': 'Module: canny' }
  t.strictSame(codes(control({ module: 'canny' }), 2, read), [])
  t.strictSame(codes(control({ module: 'canny' }), 1, read), ['control_not_applied'], 'no map')
  t.strictSame(codes(control({ module: 'canny' }), 2, {}), ['control_not_applied'], 'never read')
  t.strictSame(codes(control({ module: 'canny' }, { module: 'none' }), 3, read), ['control_not_applied'], 'one of two was read')
  t.strictSame(codes(control({ module: 'canny', enabled: false }), 1, {}), [])
  t.strictSame(codes(control({ module: 'canny', save_detected_map: false }), 1, read), [])
  t.strictSame(codes(control({ module: 'ip-adapter_clip_h' }), 1, read), [], 'vectors have no map')
  const regional = { 'Regional Prompter': { args: [true] } }
  t.strictSame(codes(regional, 1, { 'RP Active': true }), [])
  t.strictSame(codes(regional, 1, {}), ['regions_not_applied'])
  t.strictSame(codes({ 'regional prompter': { args: [false] } }, 1, {}), [])
})
