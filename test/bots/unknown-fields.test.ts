import t from 'tap'
import { startService } from '../helper.ts'

const service = await startService(t, { worker: 'none' })
const { request } = service
const usual = { user_id: 'ann', prompt: 'a lighthouse', steps: 2, width: 64, height: 64 }

t.test('generations warn about unknown fields, and strict ones reject them', async t => {
  const unit = { model: 'control_v11p_sd15_canny', wieght: 0.5 }
  const cases: Array<[path: string, more: object, field: string, nearest: string]> = [
    ['txt2img', { stpes: 3 }, 'stpes', 'steps'],
    ['txt2img', { webhookURL: 'x' }, 'webhookURL', 'webhookUrl'],
    ['batch', { base_request: usual, variatons: [{ seed: 1 }], variations: [{ seed: 2 }] }, 'variatons', 'variations'],
    ['batch', { base_request: { ...usual, stpes: 3 }, variations: [{ seed: 2 }] }, 'stpes', 'steps']
  ]
  for (const [path, more, field, nearest] of cases) {
    const body = { ...(path === 'batch' ? { user_id: 'ann' } : usual), ...more }
    t.match(await request('POST', `/generate/${path}`, body), {
      status: 200, body: { warnings: [{ code: 'unknown_field_ignored', field, message: new RegExp(`did you mean ${nearest}\\?`) }] }
    }, field)
    const strict = await request('POST', `/generate/${path}`, { ...body, strict: true })
    t.match(strict, { status: 422, body: { detail: [{ type: 'extra_forbidden', msg: new RegExp(field) }] } }, `strict: ${field}`)
  }
  t.match(await request('POST', '/generate/txt2img', { ...usual, controlnet_units: [unit], strict: true }), {
    status: 422, body: { detail: [{ loc: ['body', 'controlnet_units', '0', 'wieght'], ctx: { nearest: ['controlnet_units.0.weight'] } }] }
  })
  t.match(await request('POST', '/generate/batch', {
    user_id: 'u', base_request: { prompt: 'a cat', stpes: 3, strict: true }, variations: [{ seed: 1 }]
  }), { status: 422, body: { detail: [{ type: 'extra_forbidden', loc: ['body', 'base_request', 'stpes'] }] } }, 'strict within')
  t.match(await request('POST', '/generate/txt2img', { ...usual, strict: true }), { status: 200, body: { warnings: [] } })
})

t.test('our own routes reject unknown fields in stored data, and the clients\' routes warn', async t => {
  const { body: { preset_id: id } } = await request('POST', '/presets/ann', { name: 'soft', config: { steps: 3 } })
  const refused: Array<[method: string, path: string, body: object, field: string]> = [
    ['PUT', '/sessions/ann', { custom_setting: { steps: 3 } }, 'custom_setting'],
    ['POST', '/sessions/ann/controlnet', { model: 'canny', wieght: 1 }, 'wieght'],
    ['POST', '/sessions/ann/import', { sesion: {} }, 'sesion'],
    ['PUT', `/presets/ann/${String(id)}`, { descripton: 'x' }, 'descripton'],
    ['POST', `/presets/ann/${String(id)}/share`, { share: 'private' }, 'share'],
    ['POST', '/presets/ann/import', { code: 'x', nmae: 'y' }, 'nmae']
  ]
  for (const [method, path, body, field] of refused) {
    t.match(await request(method, path, body), {
      status: 422, body: { detail: [{ type: 'extra_forbidden', loc: ['body', field], msg: /did you mean/ }] }
    }, `${method} ${path}`)
  }
  t.match((await request('GET', `/presets/ann/${String(id)}`)).body, { shared: 'private' })
  t.match(await request('POST', '/sessions/ann/loras', { filename: 'detail', weight: 0.8, wieght: 1 }),
    { status: 200, body: { warnings: [{ field: 'wieght' }] } })
  t.match(await request('POST', '/presets/ann', { name: 'other', config: {}, descripton: 'x' }),
    { status: 200, body: { warnings: [{ field: 'descripton' }] } })
  const { body: session } = await request('GET', '/sessions/ann')
  t.equal((await request('PUT', '/sessions/ann', session)).status, 200, 'a session can be sent back as it was read')
  const { body: exported } = await request('GET', '/sessions/ann/export')
  t.equal((await request('POST', '/sessions/bob/import', exported)).status, 200)
})
