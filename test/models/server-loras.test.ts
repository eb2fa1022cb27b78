import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { readLoraList, type ListedLora } from '../../src/a1111/lora-list.ts'
import { createTagCounter } from '../../src/a1111/tag-frequency.ts'
import { factsFromServer } from '../../src/model-facts/embedded.ts'
import { atOnce } from '../../src/lib/breaks.ts'
import { joinModels } from '../../src/models/join.ts'
import { modelsReported } from '../../src/models/catalogue.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { inventoryOf } from '../a1111/inventory.ts'
import { onNotices, startService, type JsonBody, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { startFakeCivitai } from './fake-civitai.ts'
import { folderWith, safetensors, scanned } from './files.ts'

const hashOf = (digit: string) => digit.repeat(64)

/** The text in chunks of this many bytes. */
async function * pieces (text: string | Buffer, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text)
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size)
}

async function read (answer: unknown, size = 65_536): Promise<ListedLora[]> {
  return await readLoraList(pieces(typeof answer === 'string' ? answer : JSON.stringify(answer), size), 2 ** 40)
}

const factsOf = async (metadata: unknown, size?: number) => {
  const [lora] = await read([{ name: 'x', alias: 'y', path: '/l/x.safetensors', metadata }], size)
  return lora === undefined ? null : factsFromServer(lora.metadata ?? {})
}

const film = {
  ss_tag_frequency: { '10_film': { 'analog photo': 40, grain: 25, 'schön "so" \\ }{': 6 }, '5_more': { grain: 30, '': 9 } },
  'modelspec.trigger_phrase': 'analog film, <b>old</b> look',
  'modelspec.title': 'Film\u202e Grain',
  'modelspec.description': '<p onclick="x()">Makes <b>grain</b><script>alert(1)</script></p>',
  'modelspec.thumbnail': `data:image/jpeg;base64,${'A'.repeat(5000)}`,
  ss_base_model_version: 'sdxl_base_v1-0',
  ss_sd_model_name: 'ponyDiffusionV6XL.safetensors',
  ss_output_name: 'film-grain',
  ss_resolution: '(1024, 768)',
  ss_network_dim: '32',
  ss_network_alpha: '16.0',
  sshs_model_hash: hashOf('A'),
  ss_bucket_info: { buckets: { 0: { resolution: [1024, 1024], count: 12 } } },
  ss_datasets: '[{"is_dreambooth": true}]'
}
const filmFacts = {
  name: 'Film Grain',
  baseModel: 'Pony',
  description: '<p>Makes <b>grain</b></p>',
  tags: ['grain', 'analog photo', 'schön "so" \\ }{'],
  triggerWords: ['analog film', 'old look'],
  training: {
    modelHash: hashOf('a'),
    outputName: 'film-grain',
    checkpoint: 'ponyDiffusionV6XL.safetensors',
    resolution: '1024x768',
    dim: 32,
    alpha: 16
  }
}

t.test('the metadata of a LoRA is read from a list, however it is split', async t => {
  for (const size of [1, 7, 64, 65_536]) t.match(await factsOf(film, size), filmFacts, `pieces of ${size}`)
  const asText = { ...film, ss_tag_frequency: JSON.stringify(film.ss_tag_frequency) }
  for (const size of [1, 5, 65_536]) t.match(await factsOf(asText, size), filmFacts, `tags as JSON text, pieces of ${size}`)
  const asAscii = JSON.stringify([{ name: 'x', metadata: asText }]).replace(/[^\x20-\x7e]/g, letter =>
    `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
  for (const size of [1, 65_536]) {
    t.match(factsFromServer((await read(asAscii, size))[0]?.metadata ?? {}), filmFacts, `as Python writes it, pieces of ${size}`)
  }
  const twice = JSON.stringify(JSON.stringify({ f: { '\ud83d\ude00': 3, é: 2 } }).replace(/[^\x20-\x7e]/g, letter =>
    `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`))
  t.match(factsFromServer((await read(`[{"name":"x","metadata":{"ss_tag_frequency":${twice}}}]`, 3))[0]?.metadata ?? {}),
    { tags: ['\u{1f600}', 'é'] }, 'escaped within and without')
})

t.test('a server without metadata of its LoRAs leaves their names', async t => {
  const plain = [{ name: 'a', path: '/l/a.safetensors' }, { name: 'b', alias: 'B', metadata: null }, { name: 'c', metadata: {} }]
  t.same(await read(plain), [
    { name: 'a', alias: 'a', path: '/l/a.safetensors', metadata: {} },
    { name: 'b', alias: 'B', path: '', metadata: {} },
    { name: 'c', alias: 'c', path: '', metadata: {} }
  ])
  for (const answer of [{}, { detail: 'x', metadata: film }, null, [], [1, 'x', null, [film]], {}]) t.same(await read(answer), [])
  for (const broken of ['', '[{"name":"a"', '[{"name":"a"}', 'nothing', '<html>', '[{"name":"a",}]']) {
    await t.rejects(read(broken), { code: /truncated_answer|not_json|bad_gateway/ }, broken)
  }
  await t.rejects(readLoraList(pieces(JSON.stringify(plain), 10), 20), { code: 'answer_too_large' })
})

t.test('metadata behind the beginning of a long list is skipped if names are enough', async t => {
  const list = Array.from({ length: 9 }, (_, n) => ({ name: `n${n}`, metadata: n === 7 ? JSON.stringify(film) : film, path: `/l/${n}` }))
  const text = JSON.stringify([...list, { name: 'without' }])
  for (const size of [1, 100, 5000]) {
    const loras = await readLoraList(pieces(text, size), 2 ** 40, text.length / 3)
    t.strictSame(loras.map(({ name, path }) => [name, path]), [...list.map(({ name, path }) => [name, path]), ['without', '']])
    t.match(factsFromServer(loras[0]?.metadata ?? {}), filmFacts)
    t.strictSame(loras.slice(5, 9).map(({ metadata }) => metadata), [null, null, null, null], `pieces of ${size}`)
    t.strictSame(loras[9]?.metadata, {}, 'which is more than is known of one without any')
  }
})

t.test('invalid metadata of one LoRA does not affect the others', async t => {
  const folders = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`${n}_folder`, { everywhere: 1, [`only ${n}`]: 2 }]))
  const hostile: ReadonlyArray<[unknown, object]> = [
    [{ ss_tag_frequency: folders }, { tags: { 0: 'everywhere' } }],
    [{ ss_tag_frequency: { a: { huge: 1e308, 'more huge': '1' } } }, { tags: ['huge'] }],
    [{ ss_tag_frequency: { a: { less: -5, none: 0, nulls: null, list: [1], object: { deep: 99 }, flag: true, real: 3 } } }, { tags: ['real'] }],
    [{ ss_tag_frequency: { a: 7, b: null, c: 'x', d: ['y', 3], e: [{ f: 4 }] }, ss_output_name: 'kept' }, { tags: [], training: { outputName: 'kept' } }],
    [{ ss_tag_frequency: '{"a": {"good": 3, "cut', ss_output_name: 'kept' }, { tags: ['good'] }],
    [{ ss_tag_frequency: '{"a": {"__proto__": 3, "constructor": 2}}' }, { tags: ['__proto__', 'constructor'] }],
    [{ ss_tag_frequency: { a: { [`${'long '.repeat(2000)}`]: 50, '<img src=x onerror=alert(1)>short': 9 } } }, { tags: ['short'] }],
    [{ 'modelspec.title': 7, 'modelspec.tags': ['x'], 'modelspec.trigger_phrase': { a: 1 }, ss_network_dim: {}, ss_v2: 'False' }, { name: null, baseModel: 'SD 1.5' }],
    [{ ss_network_dim: 64, ss_network_alpha: 'Dynamic', ss_resolution: 512, sshs_model_hash: 'none' }, { training: { dim: 64, alpha: null, resolution: '512x512', modelHash: null } }],
    [{ 'modelspec.description': `${'\\u00e9"\\'.repeat(60_000)}`, ss_output_name: 'kept' }, { description: /\\u00e9/ }],
    [{ 'modelspec.description': `<p>${'é😀\n'.repeat(60_000)}</p>` }, { description: /^<p>é😀[^\ufffd]*<\/p>$/ }]
  ]
  const answer = hostile.map(([metadata], index) => ({ name: `lora ${index}`, metadata }))
  const [first = '', ...rest] = answer.map(entry => JSON.stringify(entry))
  const text = `[${[first, '17', '"x"', '{"name":5}', '{"name":null,"metadata":{"a":[[[[]]]]}}', '{"name":"__proto__","__proto__":{"x":1},"metadata":{"__proto__":{"ss_output_name":"no"}}}', `{"name":${JSON.stringify('n'.repeat(100_000))}}`, ...rest].join()}]`
  for (const size of [997, 65_536]) {
    const loras = await read(text, size)
    t.strictSame(loras.map(({ name }) => name), ['lora 0', '__proto__', ...answer.slice(1).map(({ name }) => name)])
    const found = new Map(loras.map(({ name, metadata }) => [name, factsFromServer(metadata ?? {})]))
    t.equal(found.get('__proto__'), null)
    for (const [index, [, facts]] of hostile.entries()) t.match(found.get(`lora ${index}`), facts, JSON.stringify(facts))
    for (const facts of found.values()) t.ok(JSON.stringify(facts ?? '').length < 30_000, 'and little is kept of each')
  }
  t.equal(Object.hasOwn(Object.prototype, 'x'), false)
})

t.test('counted tags stay few, and the frequent ones are right', t => {
  const counter = createTagCounter()
  counter.write(Buffer.from('{'))
  for (let folder = 0; folder < 100; folder++) {
    const rare = Array.from({ length: 1000 }, (_, n) => `"rare ${folder} ${n}":1`).join()
    counter.write(Buffer.from(`${folder === 0 ? '' : ','}"f${folder}":{"often":${folder + 10},${rare}, "second" : 9 }`))
  }
  counter.write(Buffer.from('}'))
  t.strictSame(counter.top(2), [['often', 5950], ['second', 900]])
  t.end()
})

const lora = (name: string, path = `/srv/Lora/${name}.safetensors`) => ({ name, alias: name, path })
const withTag = (digit: string, tag: string) =>
  factsFromServer({ sshs_model_hash: hashOf(digit), ss_tag_frequency: { f: { [tag]: 9 } } })

t.test('LoRAs of several servers', async t => {
  type Reported = readonly [ReturnType<typeof lora>, ReturnType<typeof withTag>]
  const joined = (...servers: ReadonlyArray<readonly Reported[]>) =>
    atOnce(joinModels([], servers.flatMap((entries, index) => modelsReported(`server-${index}`,
      inventoryOf({ loras: entries.map(([entry]) => entry) }),
      new Map(entries.map(([entry, facts]) => [entry.path, facts]))))))
  const hashes = (models: ReturnType<typeof joined>) =>
    models.map(({ tensorHashes, reported }) => [[...tensorHashes].join(), reported.length])

  t.strictSame(hashes(joined([[lora('x'), withTag('a', 'one')]], [[lora('x'), null]])), [['aaaaaaaaaaaa', 2]],
    'are one where one server tells nothing')
  t.strictSame(hashes(joined([[lora('x'), null]], [[lora('x'), withTag('a', 'one')]])), [['aaaaaaaaaaaa', 2]], 'whichever it is')
  t.strictSame(hashes(joined([[lora('x'), withTag('a', 'one')]], [[lora('renamed'), withTag('a', 'one')]])),
    [['aaaaaaaaaaaa', 2]], 'or where it has another name')
  t.strictSame(hashes(joined([[lora('x'), withTag('a', 'one')]], [[lora('x'), withTag('b', 'two')]])).sort(),
    [['aaaaaaaaaaaa', 1], ['bbbbbbbbbbbb', 1]], 'are two where files of one name differ')
  t.equal(joined([[lora('x'), withTag('a', 'one')]], [[lora('x'), withTag('b', 'two')]], [[lora('x'), null]]).length, 3,
    'of which a third takes no side')
  const copies = [[lora('x'), withTag('a', 'one')], [lora('copy'), withTag('a', 'one')]] as const
  t.strictSame(hashes(joined(copies, [copies[1]])).sort(),
    [['aaaaaaaaaaaa', 1], ['aaaaaaaaaaaa', 2]],
    'and copies at one server stay apart, each with its like elsewhere')
})

const namesIn = ({ models }: JsonBody) => (models as Array<{ filename: string }>).map(({ filename }) => filename)

t.test('LoRAs that only a server has', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const civitai = await startFakeCivitai(t)
  const simulator = await startSimulator({ stepMilliseconds: 1 })
  t.teardown(simulator.close)
  const folder = await folderWith(t, {
    'add-detail.safetensors': safetensors({ 'modelspec.trigger_phrase': 'from the file', ss_base_model_version: 'flux1' }),
    'add-detail.json': { notes: 'mine' }
  })
  const settings = {
    LORA_DIR: folder, CIVITAI_BASE_URL: civitai.url, CIVITAI_INTERVAL_SECONDS: '0.01', MASTER_KEY: 'ab'.repeat(32)
  }
  const start = async () => await startService(t, { redis, settings, servers: { Main: simulator.url } })
  const service = await start()
  const models = async (query: string, at: Service = service) => (await at.request('GET', `/api/v1/models?type=lora&${query}`)).body

  t.test('have the server\'s metadata, and searches find them by it', async t => {
    t.match(await models('search=film-grain'), {
      models: [{
        on_disk: false,
        base_model: 'SD 1.5',
        base_family: 'SD 1',
        tags: ['analog photo', 'grain', 'portrait'],
        trigger_words: ['analog film'],
        hash_autov3: 'f11a9a1f3c5e',
        metadata_source: 'embedded',
        training: { output_name: 'film-grain', trained_on: 'v1-5-pruned.safetensors', resolution: '512x512', dim: 32, alpha: 16 }
      }]
    })
    for (const words of ['portrait', 'analog film', 'photo analog']) t.same(namesIn(await models(`search=${words}`)), ['film-grain.safetensors'], words)
    t.same(namesIn(await models('baseModel=sdxl_base_v1-0')), ['pixel-art-xl.safetensors'])
    t.match((await service.request('GET', '/api/v1/models/f11a9a1f3c5e')).body, { model: { filename: 'film-grain.safetensors' } })
    t.match((await service.request('GET', '/loras/film-grain')).body,
      { tags: ['analog photo', 'grain', 'portrait'], trigger_words: ['analog film'], base_model: 'SD 1.5' }, 'for bots as well, before any scan')
  })

  t.test('do not change a LoRA in a folder of this machine', async t => {
    await scanned(service)
    t.match((await service.request('GET', '/api/v1/models/add-detail.safetensors')).body, {
      model: { on_disk: true, base_model: 'Flux.1', trigger_words: ['from the file'], tags: [], notes: 'mine', servers: [{ alias: 'Main' }] }
    })
  })

  t.test('are looked up at Civitai by their AutoV3; both results are kept, known or unknown', async t => {
    const refresh = async (name: string) => await service.request('POST', `/api/v1/models/${name}/refresh-metadata`, {})
    t.match(await refresh('film-grain'), { status: 404, body: { error: 'civitai_not_found', message: /f11a9a1f3c5e/ } })
    t.same(civitai.requests.map(({ path }) => path), ['/model-versions/by-hash/f11a9a1f3c5e'])
    t.match(await service.request('POST', '/loras/film-grain/enrich'), { status: 404, body: { detail: /f11a9a1f3c5e/ } })
    t.equal(civitai.requests.length, 1, 'and is not asked again at once')
    t.match(await refresh('watercolor-style'), { status: 404, body: { message: /no hash/ } })
    t.equal(civitai.requests.length, 1)
    civitai.answers.set('/model-versions/by-hash/f11a9a1f3c5e', {
      id: 22, modelId: 11, name: 'v2', baseModel: 'Illustrious', trainedWords: ['grainy'], model: { name: 'Film Grain', type: 'LORA', nsfw: false }, images: []
    })
    t.equal((await service.request('POST', '/api/v1/models/film-grain/refresh-metadata?force=true')).status, 200)
    const known = {
      models: [{ name: 'Film Grain', base_model: 'Illustrious', trigger_words: ['grainy'], tags: ['analog photo', 'grain', 'portrait'], civitai_version_id: 22 }]
    }
    t.match(await models('search=grainy'), known)
    t.match(await models('search=grainy', await start()), known, 'after a restart too')
    t.match((await service.request('GET', '/loras/film-grain')).body, { civitai_id: 11, trigger_words: ['grainy'], name: 'Film Grain' })
  })
})

/** A proxy in front of a server that holds back the second and later lists of LoRAs until they are released. */
async function startLoraGate (t: Test, target: string): Promise<{ url: string, open: () => void }> {
  let open = () => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  let lists = 0
  const proxy = createServer((request, response) => {
    const { url = '', method = 'GET', headers } = request
    const isLate = url === '/sdapi/v1/loras' && ++lists > 1
    const onwards = httpRequest(target + url, { method, headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      const send = () => answer.pipe(response)
      if (isLate) opened.then(send)
      else send()
    })
    onwards.on('error', () => { response.destroy() })
    request.pipe(onwards)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    open()
    proxy.close()
    proxy.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, open }
}

t.test('a long list delays no job, is read in pieces, and written only if it changed', async t => {
  const simulator = await startSimulator({ stepMilliseconds: 1, manyLoras: { count: 150, metadataBytes: 20_000 } })
  t.teardown(simulator.close)
  const gate = await startLoraGate(t, simulator.url)
  const service = await startService(t, { servers: { Main: gate.url } })
  const { registry, states } = service.services
  const id = registry.list()[0]?.id ?? ''
  const last = async () => (await service.request('GET', '/api/v1/models?type=lora&search=lora-00149')).body
  await service.until(await service.submit({ prompt: 'a cat <lora:lora-00149:1>' }), 'completed')
  t.match(await last(), { models: [{ filename: 'lora-00149.safetensors' }] })
  t.ok((await states.loraFacts.read(id)).size < 150, 'its name is enough for a job')
  gate.open()
  await onNotices(service.services, async () => (await states.loraFacts.read(id)).size === 150 || undefined)
  t.match(await last(), { models: [{ tags: { 0: 'lora-00149' }, trigger_words: ['trigger 149'], base_model: 'SD 1.5' }] })
  const version = await states.loraFacts.version(id)
  const before = (await states.inventory(id))?.readAt ?? 0
  t.match((await service.request('POST', '/loras/scan')).body, { details: { count: 150, updated: 0, total_scanned: 150 } })
  t.ok(((await states.freshInventory(id))?.readAt ?? 0) > before, 'it was read again')
  t.equal(await states.loraFacts.version(id), version, 'and nothing of it written')
})
