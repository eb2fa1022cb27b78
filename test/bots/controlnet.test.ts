import sharp from 'sharp'
import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startBots } from './studio.ts'

const bots = await startBots(t)
const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#c00000' } }).png().toBuffer()
const base64 = image.toString('base64')

async function upload (path: string, fields: Readonly<Record<string, string>> = {}) {
  const form = new FormData()
  form.set('file', new Blob([image], { type: 'image/png' }), 'picture.png')
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  const response = await fetch(bots.url + path, { method: 'POST', body: form })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

t.test('lists contain the names that units can use', async t => {
  const { body: { models } } = await bots.request('GET', '/controlnet/models')
  t.ok((models as string[]).includes('control_v11p_sd15_canny [d14c016b]'))
  t.notOk((models as string[]).includes('None'))
  for (const path of ['modules', 'preprocessors']) {
    const { body } = await bots.request('GET', `/controlnet/${path}`)
    t.ok((body[path] as string[]).includes('depth_midas'))
    t.notOk((body[path] as string[]).includes('depth'), 'labels, which every kind of server takes')
  }
  const { body: { control_types: types } } = await bots.request('GET', '/controlnet/types')
  t.match(types, { Canny: { module_list: ['none', 'canny'], default_option: 'canny' }, All: { default_model: 'None' } })
})

t.test('the server itself makes the map, at any position of the processor', async t => {
  const canny = await upload('/controlnet/preprocess')
  t.match(canny, { status: 200, body: { status: 'success', preprocessor: 'canny', method: 'api', processed_image: /^iVBOR/ } })
  t.match(await upload('/controlnet/preprocess?processor=depth'), { body: { status: 'success', preprocessor: 'depth' } })
  t.match(await upload('/controlnet/preprocess', { processor: 'openpose_full', processor_res: '256' }), {
    body: { status: 'success', preprocessor: 'openpose_full', poses: [{ people: [] }] }
  })
  t.match(await upload('/controlnet/preprocess', { preprocessor: 'seg' }), { body: { preprocessor: 'seg_ofade20k' } })
  const json = await bots.request('POST', '/controlnet/preprocess', { image: base64, processor: 'invert', threshold_a: 1000 })
  const { dominant } = await sharp(Buffer.from(String(json.body.processed_image), 'base64')).stats()
  t.ok(dominant.r < 80 && dominant.g > 200)
  const masked = await bots.request('POST', '/controlnet/preprocess', { file: base64, mask: base64, processor: 'inpaint_only' })
  t.match(masked.body, { status: 'success' })
})

t.test('impossible maps get an error, and nothing is made up', async t => {
  t.match(await upload('/controlnet/preprocess?processor=inpaint_only'), {
    status: 200, body: { status: 'error', preprocessor: 'inpaint_only', error: /controlnet_masks/ }
  })
  t.match(await upload('/controlnet/preprocess?processor=cany'), {
    status: 422, body: { detail: [{ loc: ['body', 'processor'], type: 'model_not_found', ctx: { nearest: ['canny'] } }] }
  })
  t.match(await bots.request('POST', '/controlnet/preprocess', { processor: 'canny' }), {
    status: 422, body: { detail: [{ loc: ['body', 'file'], type: 'missing' }] }
  })
  t.match(await bots.request('POST', '/controlnet/preprocess', { file: 'aGFsbG8=' }), { status: 422 })
  t.match(await upload('/controlnet/preprocess?processor_res=7'), { status: 422, body: { detail: [{ loc: ['body', 'processor_res'] }] } })
})

t.test('Forge gets real numbers and its own names, and without any server only arithmetic runs', async t => {
  const forge = await startSimulator({ flavor: 'forge', stepMilliseconds: 1, loadMilliseconds: 0 })
  t.teardown(forge.close)
  await bots.request('POST', '/api/v1/servers', { alias: 'Forge', apiUrl: forge.url })
  await bots.request('POST', '/api/v1/servers/Forge/test')
  const made = await upload('/controlnet/preprocess?server=Forge&processor=depth')
  t.match(made, { status: 200, body: { status: 'success', preprocessor: 'depth_midas' } })
  const { body: { modules } } = await bots.request('GET', '/controlnet/modules')
  t.ok((modules as string[]).includes('normalbae') && (modules as string[]).includes('normal_bae'), 'of all servers')

  await forge.close()
  t.equal((await bots.request('DELETE', '/api/v1/servers/Main')).status, 200)
  t.match(await upload('/controlnet/preprocess?processor=canny'), { status: 200, body: { status: 'error', error: String } })
  t.match(await upload('/controlnet/preprocess?processor=invert'), { status: 200, body: { status: 'success', method: 'local' } })
  t.equal((await bots.request('GET', '/controlnet/models')).status, 200)
})
