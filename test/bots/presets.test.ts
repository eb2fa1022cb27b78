import t from 'tap'
import { testImage, small, startBots } from './studio.ts'

const bots = await startBots(t)
const { request } = bots

t.test('a preset can be saved, listed, used by its id, changed and deleted', async t => {
  t.same((await request('GET', '/presets/pia')).body, { presets: [] })
  const config = { steps: 3, sampler_name: 'Euler a', loras: { 'film-grain': 0.5 }, prompt: 'a preset\'s lighthouse' }
  const saved = await request('POST', '/presets/pia', { name: 'Soft', description: 'warm', config })
  t.match(saved, { status: 200, body: { message: 'Preset saved', preset_id: /^[0-9a-f-]{36}$/ } })
  const id = String(saved.body.preset_id)
  t.match((await request('GET', '/presets/pia')).body.presets, [
    { preset_id: id, name: 'Soft', description: 'warm', config, created_at: /\.\d{6}$/, last_used: null, shared: 'private' }
  ])
  const { asked } = await bots.generate('/generate/txt2img', { user_id: 'pia', preset_id: id, steps: 2, width: 64, height: 64 })
  t.match(asked, { prompt: 'a preset\'s lighthouse <lora:film-grain:0.5>', sampler_name: 'Euler a', steps: 2 })
  const changed = await request('PUT', `/presets/pia/${id}`, { name: 'Softer', config: { steps: 4 } })
  t.match(changed.body, { preset: { name: 'Softer', description: 'warm', config: { steps: 4 }, last_used: /\.\d{6}$/, uses: 1 } })
  t.same((await request('DELETE', `/presets/pia/${id}`)).body, { message: 'Preset deleted' })
  const gone = await request('DELETE', `/presets/pia/${id}`)
  t.same([gone.status, gone.body], [404, { detail: 'Preset not found' }])
  t.equal((await request('POST', '/generate/txt2img', { ...small, preset_id: id })).status, 404)
})

t.test('errors in a preset, and its missing fields, are reported when it is used', async t => {
  t.match((await request('POST', '/presets/pia', { config: [] })).body.detail, [
    { type: 'missing', loc: ['body', 'name'] }, { type: 'dict_type', loc: ['body', 'config'] }
  ])
  const { preset_id: id } = (await request('POST', '/presets/pia', { name: 'Odd', config: { steps: 1000 } })).body
  const { status, body } = await request('POST', '/generate/txt2img', { ...small, user_id: 'pia', steps: undefined, preset_id: id })
  t.equal(status, 422)
  t.match(body.detail, [{ type: 'less_than_equal', loc: ['body', 'steps'] }])
  const config = { regional_config: { layout: 'vertical', region1_prompt: 'sea', region2_prompt: 'sand' }, mood: 'calm', steps: 2 }
  const { preset_id: regional } = (await request('POST', '/presets/pia', { name: 'Shore', config })).body
  const used = async (kind: string) => (await request('POST', `/generate/${kind}`, { ...small, user_id: 'pia', preset_id: regional })).body
  t.match((await used('txt2img')).warnings, [{ code: 'preset_fields_ignored', message: /txt2img does not know: regional_config, mood/ }])
  t.match((await used('regional')).warnings, [{ message: /does not know: mood\./ }])
})

t.test('a preset can be shared with a link or with everyone, and copied', async t => {
  const config = { steps: 2, cfg_scale: 5 }
  const { preset_id: id } = (await request('POST', '/presets/gina', { name: 'Calendar', config })).body
  const path = `/presets/gina/${String(id)}`
  const usedBy = async (user: string, reference: unknown) =>
    (await request('POST', '/generate/txt2img', { ...small, user_id: user, preset_id: reference })).status
  t.equal(await usedBy('otto', id), 404, 'nobody else sees a private preset')

  const code = ((await request('POST', `${path}/share`, { shared: 'link' })).body.preset as { share_code: string }).share_code
  t.equal(await usedBy('otto', id), 404, 'the id alone is no link')
  t.equal(await usedBy('otto', code), 200)
  t.match((await request('GET', `/presets/by-code/${code}`)).body, { name: 'Calendar', config })
  t.same((await request('GET', '/presets/shared')).body, { presets: [] })
  const copy = (await request('POST', '/presets/otto/import', { code, name: 'Mine' })).body.preset as { preset_id: string }
  t.match(copy, { name: 'Mine', config, copied_from: id, shared: 'private' })

  await request('POST', `${path}/share`, { shared: 'everyone' })
  t.equal(await usedBy('otto', id), 200)
  t.match((await request('GET', '/presets/shared?search=calen')).body.presets, [{ preset_id: id, shared: 'everyone' }])
  t.same((await request('GET', '/presets/shared?search=nothing')).body.presets, [])
  await request('POST', `${path}/share`, { shared: 'private' })
  t.equal(await usedBy('otto', code), 404)
  t.equal((await request('GET', `/presets/by-code/${code}`)).status, 404)
  await request('DELETE', path)
  t.equal((await request('GET', `/presets/otto/${copy.preset_id}`)).status, 200, 'a copy stays')
})

t.test('images in presets and sessions are files, shown as references that clients can send again, exported in full', async t => {
  const image = await testImage(64, 48)
  const saved = await request('POST', '/presets/vera', { name: 'Pose', config: { controlnet_units: [{ model: 'x', image }] } })
  const shown = (await request('GET', `/presets/vera/${String(saved.body.preset_id)}`)).body.config as {
    controlnet_units: Array<{ image: string }>
  }
  t.match(shown.controlnet_units[0]?.image, /^data:image\/upload,/)
  await request('POST', '/sessions/vera/controlnet', { model: 'control_v11p_sd15_canny', image })
  const stored = await bots.services.redis.keys('*')
  const texts = await Promise.all(stored.filter(key => key.includes(':studio:')).map(async key =>
    await bots.services.redis.type(key) === 'string' ? await bots.services.redis.get(key) : ''))
  t.notOk(texts.some(text => text?.includes(image)), 'no image is in Redis')
  const exported = (await request('GET', '/sessions/vera/export')).body
  t.match(exported, {
    user_id: 'vera',
    session: { controlnet_configs: [{ image }] },
    presets: [{ name: 'Pose', config: { controlnet_units: [{ image }] } }]
  })
  const imported = await request('POST', '/sessions/wim/import', exported)
  t.match(imported, { status: 200, body: { message: 'Imported session and 1 presets', session: { user_id: 'wim' } } })
  await request('DELETE', '/sessions/vera')
  await request('DELETE', `/presets/vera/${String(saved.body.preset_id)}`)
  t.same((await request('GET', '/sessions/wim/export')).body.session, {
    ...exported.session as object, user_id: 'wim', last_updated: (imported.body.session as { last_updated: string }).last_updated
  }, 'what one lets go the other keeps')
  const oldShape = { session: { active_loras: { a: 0.5 }, last_updated: null }, presets: { some: { name: 'Old', config: {} } } }
  t.match((await request('POST', '/sessions/xaver/import', oldShape)).body, { session: { active_loras: { a: 0.5 } } })
})

t.test('no application sees the stored data of another, whatever it calls its users', async t => {
  const headers = async () => {
    const { accessKey, secret } = await bots.services.accessKeys.create({ name: 'bot' })
    return { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  }
  const [one, other] = [await headers(), await headers()]
  await request('POST', '/sessions/ann/loras', { filename: 'film-grain', weight: 1 }, one)
  const { preset_id: id } = (await request('POST', '/presets/ann', { name: 'Secret', config: {} }, one)).body
  const { job_id: job } = (await request('POST', '/generate/txt2img', small, one)).body
  t.same((await request('GET', '/sessions/ann', undefined, other)).body.active_loras, {})
  t.same((await request('GET', '/presets/ann', undefined, other)).body.presets, [])
  t.equal((await request('GET', `/presets/ann/${String(id)}`, undefined, other)).status, 404)
  t.equal((await request('GET', `/jobs/${String(job)}`, undefined, other)).status, 404)
  t.match((await request('GET', '/sessions/ann/jobs', undefined, other)).body, { jobs: [], total: 0 })
  t.match((await request('GET', '/sessions/ann/jobs', undefined, one)).body, { jobs: [{ job_id: job, user_id: 'ann' }], total: 1 })
})
