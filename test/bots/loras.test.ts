import t from 'tap'
import { startService, type JsonBody } from '../helper.ts'
import { startFakeCivitai } from '../models/fake-civitai.ts'

const civitai = await startFakeCivitai(t)
const service = await startService(t, {
  settings: { CIVITAI_BASE_URL: civitai.url, CIVITAI_INTERVAL_SECONDS: '0.01' }
})
const get = async (path: string) => await service.request('GET', path)
const names = ({ loras }: JsonBody) => (loras as Array<{ filename: string }>).map(({ filename }) => filename)
const one = async (name: string) => (await get(`/loras/${name}`)).body

t.test('LoRAs are listed before any scan, in the shape that clients read', async t => {
  const { status, body } = await get('/loras')
  t.equal(status, 200)
  t.strictSame(names(body), ['add-detail.safetensors', 'film-grain.safetensors', 'pixel-art-xl.safetensors', 'watercolor-style.safetensors'])
  t.match(body, { total: 4, total_available: 4 })
  t.match((body.loras as unknown[])[3], {
    filename: 'watercolor-style.safetensors',
    name: 'Watercolor Style',
    tags: ['style'],
    trigger_words: [],
    strength_range: [0.6, 1],
    description: null,
    thumbnail: '/loras/watercolor-style.safetensors/thumbnail',
    civitai_id: null,
    servers: ['Main']
  })
  t.match((await get('/loras?limit=1&offset=1')).body, { total: 1, total_available: 4, loras: [{ filename: 'film-grain.safetensors' }] })
  t.match(await get('/loras?limit=many'), { status: 422, body: { detail: [{ loc: ['query', 'limit'] }] } })
})

t.test('a scan makes servers read their folders again, and reads the files', async t => {
  const { status, body } = await service.request('POST', '/loras/scan')
  t.equal(status, 200)
  t.match(body, {
    message: 'Scanned and found 4 LoRAs',
    details: { count: 4, new: 0, updated: 0, total_scanned: 4, servers: [{ alias: 'Main', loras: 4, error: null }], folders: false }
  })
  t.match(await one('film-grain'), {
    tags: ['analog photo', 'grain', 'portrait'],
    trigger_words: ['analog film'],
    base_model: 'SD 1.5',
    description: 'Trained on v1-5-pruned.safetensors'
  })
  t.match((await get('/loras/tags')).body, { tags: [{ tag: 'analog photo', count: 1 }] })
  t.strictSame(names((await get('/loras?tag=Grain')).body), ['film-grain.safetensors'])
  t.strictSame(names((await get('/loras?base_model=sdxl')).body), ['pixel-art-xl.safetensors'])
})

t.test('a search scores as clients expect, and tolerates typing errors if nothing matches', async t => {
  const search = async (text: string) => (await get(`/loras?search=${encodeURIComponent(text)}`)).body
  t.match(await search('FILM'), { loras: [{ filename: 'film-grain.safetensors', score: 10 + 8 + 3 }] }, 'name, file and trigger')
  t.match(await search('detail'), { total: 1, loras: [{ filename: 'add-detail.safetensors', score: 18 }] })
  t.match(await search('grain'), { loras: [{ score: 10 + 8 + 5 }] })
  const resembling = await search('watrcolour')
  t.strictSame(names(resembling), ['watercolor-style.safetensors'])
  t.ok((resembling.loras as Array<{ score: number }>).every(({ score }) => score < 2))
  t.strictSame(names(await search('art pixel')), ['pixel-art-xl.safetensors'], 'words in any order')
  t.strictSame(names(await search('submarine')), [])
})

t.test('Discord gets no more than it can show', async t => {
  const { body } = await get('/loras/autocomplete?search=e&limit=100')
  const choices = body.choices as Array<{ name: string, value: string }>
  t.ok(choices.length > 1 && choices.length <= 25)
  t.ok(choices.every(({ name, value }) => name.length <= 100 && value.length <= 100))
  t.match(choices.find(({ value }) => value === 'add-detail.safetensors'), { name: 'Add Detail' })
})

t.test('edits of users stay, whatever a scan or Civitai says', async t => {
  const edit = async (name: string, fields: JsonBody) => await service.request('PATCH', `/loras/${name}`, fields)
  const edited = await edit('film-grain.safetensors', { name: 'My film', tags: ['mine'], strength_range: [0.3, 0.5] })
  t.match(edited, { status: 200, body: { name: 'My film', tags: ['mine'], strength_range: [0.3, 0.5], edited: ['name', 'tags', 'strength_range'] } })
  await service.request('POST', '/loras/scan')
  t.match(await one('film-grain'), { name: 'My film', tags: ['mine'], trigger_words: ['analog film'] })
  t.strictSame(names((await get('/loras?search=my%20film')).body), ['film-grain.safetensors'], 'and is found by it')

  civitai.answers.set('/model-versions/by-hash/f11a9a1f3c5e', {
    id: 22, modelId: 11, name: 'v2', baseModel: 'SDXL 1.0', trainedWords: ['grainy'], model: { name: 'Film Grain', type: 'LORA', nsfw: false }, images: []
  })
  const enriched = await service.request('POST', '/loras/film-grain/enrich')
  t.match(enriched, { status: 200, body: { name: 'My film', trigger_words: ['grainy'], base_model: 'SDXL 1.0', civitai_id: 11 } })
  await service.request('POST', '/loras/scan')
  t.match(await one('film-grain'), { civitai_id: 11, tags: ['mine'] }, 'a scan keeps what Civitai said')
  const others = [{ trigger_words: ['together'] }, { description: 'At once' }, { strength_range: [0.2, 0.4] }, { civitai_id: 7 }]
  await Promise.all(others.map(async fields => await edit('film-grain', fields)))
  t.match(await edit('film-grain', {}), { body: Object.assign({}, ...others) }, 'and edits at the same time lose none')
  t.match(await edit('film-grain', { name: null, tags: null }), { body: { name: 'Film Grain', tags: ['analog photo', 'grain', 'portrait'] } })
  t.match(await service.request('POST', '/loras/add-detail/enrich'), { status: 404, body: { detail: /Civitai knows no file|has no hash/ } })
})

t.test('images come from the user, from the file\'s neighbour at a server, or from Civitai', async t => {
  const seen = async (name: string) => {
    const { thumbnail } = await one(name)
    if (typeof thumbnail !== 'string') return null
    const answer = await fetch(service.url + thumbnail, { redirect: 'manual' })
    return answer.status === 200 ? answer.headers.get('content-type') : answer.headers.get('location') ?? answer.status
  }
  t.equal(await seen('film-grain'), 'image/png', 'film-grain.preview.png at the server')
  t.equal(await seen('watercolor-style'), 404, 'which nobody knows before')
  t.equal(await seen('watercolor-style'), null, 'and is known then')
  await service.request('POST', '/loras/scan')
  t.equal(await seen('watercolor-style'), 404, 'until the next scan')
  await service.request('PATCH', '/loras/watercolor-style', { thumbnail: 'https://example.org/w.png' })
  t.match(await one('watercolor-style'), { thumbnail: 'https://example.org/w.png' })
  const answer = await fetch(`${service.url}/loras/watercolor-style/thumbnail`, { redirect: 'manual' })
  t.match([answer.status, answer.headers.get('location')], [302, 'https://example.org/w.png'])
  t.match(await get('/loras/nothing-like-it/thumbnail'), { status: 404, body: { detail: String } })
})

t.test('mistakes get an error', async t => {
  t.match(await get('/loras/film-grian'), { status: 404, body: { detail: /Nearest: film-grain/ } })
  t.match(await service.request('PATCH', '/loras/film-grain', { tags: 'x', strength_range: [1, 99] }), { status: 422, body: { detail: [{ loc: ['body', 'tags'] }, { loc: ['body', 'strength_range', 1] }] } })
  t.match(await get('/loras/xl%2Fpixel-art-xl'), { status: 200, body: { path: 'xl/pixel-art-xl.safetensors' } })
})
