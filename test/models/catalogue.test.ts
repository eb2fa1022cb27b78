import t from 'tap'
import { atOnce } from '../../src/lib/breaks.ts'
import { joinModels } from '../../src/models/join.ts'
import { modelsReported } from '../../src/models/catalogue.ts'
import type { Inventory } from '../../src/a1111/types.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { inventoryOf } from '../a1111/inventory.ts'
import { startService, type JsonBody, type Service } from '../helper.ts'

const hashOf = (digit: string) => digit.repeat(64)

function checkpoint (title: string, sha256: string | null = null) {
  return {
    title: sha256 === null ? title : `${title} [${sha256.slice(0, 10)}]`,
    modelName: title.replace(/\.safetensors$/, ''),
    hash: sha256?.slice(0, 10) ?? null,
    sha256: sha256?.toUpperCase() ?? null,
    filename: `/srv/models/Stable-diffusion/${title}`
  }
}

const joined = (...inventories: Inventory[]) => atOnce(joinModels([], inventories.flatMap((inventory, index) =>
  modelsReported(`server-${index}`, inventory))))

t.test('the models of two servers', async t => {
  t.test('are one model under two names if the hash is the same', async t => {
    const models = joined(
      inventoryOf({ checkpoints: [checkpoint('sdxl\\jugger.safetensors', hashOf('a'))] }),
      inventoryOf({ checkpoints: [checkpoint('juggernaut.safetensors', hashOf('a'))] }))
    t.equal(models.length, 1)
    t.same(models[0]?.reported.map(({ title }) => title),
      ['sdxl\\jugger.safetensors [aaaaaaaaaa]', 'juggernaut.safetensors [aaaaaaaaaa]'])
    t.equal(models[0]?.sha256, hashOf('a'), 'in lower case')
  })

  t.test('are one model if an unhashed file has the same path with the other slash', async t => {
    const models = joined(
      inventoryOf({ checkpoints: [checkpoint('sdxl\\Jugger.safetensors', hashOf('a'))] }),
      inventoryOf({ checkpoints: [checkpoint('sdxl/jugger.safetensors')] }))
    t.equal(models.length, 1)
  })

  t.test('stay two models if one path holds two different files, and an unhashed third belongs to neither', async t => {
    const models = joined(
      inventoryOf({ checkpoints: [checkpoint('x.safetensors', hashOf('a'))] }),
      inventoryOf({ checkpoints: [checkpoint('x.safetensors', hashOf('b'))] }),
      inventoryOf({ checkpoints: [checkpoint('x.safetensors')] }))
    t.equal(models.length, 3)
  })

  t.test('stay two models if a name without hash is in two folders', async t => {
    const models = joined(
      inventoryOf({ checkpoints: [checkpoint('one/x.safetensors')] }),
      inventoryOf({ checkpoints: [checkpoint('two/x.safetensors')] }))
    t.equal(models.length, 2)
  })

  t.test('are never joined across types', async t => {
    const models = joined(inventoryOf({
      checkpoints: [checkpoint('detail.safetensors')], vaes: ['detail.safetensors'], embeddings: ['detail']
    }))
    t.same(models.map(({ type }) => type).sort(), ['checkpoint', 'embedding', 'vae'])
  })
})

const modelsOf = (body: JsonBody) => body.models as Array<JsonBody & { id: number, servers: JsonBody[] }>

async function listed (service: Service, query: string) {
  const { status, body } = await service.request('GET', `/api/v1/models?${query}`)
  return { status, total: body.total, models: modelsOf(body), next_cursor: body.next_cursor as string | null }
}

t.test('the catalogue of two servers', async t => {
  const other = await startSimulator({ checkpoints: ['anime-pastel.safetensors', 'only/here.safetensors'] })
  t.teardown(other.close)
  const one = await startSimulator({ stepMilliseconds: 1 })
  t.teardown(one.close)
  const service = await startService(t, { servers: { One: one.url, Two: other.url } })

  t.test('lists all models without any scan', async t => {
    const { models, total } = await listed(service, 'type=checkpoint')
    t.equal(total, 5)
    const shared = models.find(({ filename }) => filename === 'anime-pastel.safetensors')
    t.same(shared?.servers.map(({ alias }) => alias).sort(), ['One', 'Two'])
    t.match(shared, {
      type: 'checkpoint',
      on_disk: false,
      size: null,
      has_preview: false,
      metadata_source: 'none',
      _metadata_source: 'none',
      previewAvailable: false,
      previewPath: null
    })
    const ofTwo = (await listed(service, 'server=two&type=checkpoint')).models
    t.same(ofTwo.map(({ path }) => path).sort(), ['anime-pastel.safetensors', 'only/here.safetensors'])
  })

  t.test('finds a model by id, file name, title and url-encoded path', async t => {
    const { models } = await listed(service, 'search=juggernaut')
    const id = models[0]?.id
    for (const reference of [id, 'juggernaut-xl.safetensors', 'juggernaut-xl', 'sdxl%2Fjuggernaut-xl.safetensors',
      'sdxl%5Cjuggernaut-xl.safetensors', 'SDXL%2FJUGGERNAUT-XL']) {
      const { body } = await service.request('GET', `/api/v1/models/${reference}`)
      t.equal((body.model as JsonBody | undefined)?.id, id, String(reference))
    }
    const { status, body } = await service.request('GET', '/api/v1/models/jugernaut-xl')
    t.match({ status, body }, { status: 404, body: { error: 'model_not_known', details: { nearest: ['juggernaut-xl.safetensors'] } } })
  })

  t.test('lists all of them page by page, each once', async t => {
    const { total, models: all } = await listed(service, '')
    const paged: number[] = []
    while (paged.length < Number(total)) {
      const { models } = await listed(service, `limit=4&offset=${paged.length}`)
      t.ok(models.length > 0)
      paged.push(...models.map(({ id }) => id))
    }
    t.same(paged, all.map(({ id }) => id))
    t.equal(new Set(paged).size, total)
    const byCursor: number[] = []
    for (let cursor: string | null = '0'; cursor !== null;) {
      const page: Awaited<ReturnType<typeof listed>> = await listed(service, `limit=4&cursor=${cursor}`)
      byCursor.push(...page.models.map(({ id }) => id))
      cursor = page.next_cursor
    }
    t.same(byCursor, paged, 'by cursor too')
  })

  t.test('is searched by parts, by words in any order and with typing errors', async t => {
    const first = async (search: string) => (await listed(service, `search=${encodeURIComponent(search)}`)).models[0]?.filename
    t.equal(await first('pastel'), 'anime-pastel.safetensors')
    t.equal(await first('pastel anime'), 'anime-pastel.safetensors')
    t.equal(await first('jugernaut'), 'juggernaut-xl.safetensors')
    t.equal(await first('zzzzzz'), undefined)
  })

  t.test('has the lists of each kind, with the servers that offer them', async t => {
    const list = async (path: string) => (await service.request('GET', `/api/v1/${path}`)).body as unknown as JsonBody[]
    t.match((await list('loras')).map(({ filename }) => filename), ['add-detail.safetensors'])
    t.equal((await list('checkpoints')).length, 5)
    for (const path of ['vaes', 'embeddings']) t.ok((await list(path)).length > 0, path)
    for (const path of ['samplers', 'schedulers', 'upscalers']) {
      const [first] = await list(path)
      t.same(first?.servers, ['One', 'Two'], path)
    }
  })

  t.test('keeps a model\'s id when it gets its hash and when a server is removed', async t => {
    const before = (await listed(service, 'search=realistic')).models[0]
    t.equal(before?.hash_autov2, null)
    await service.until(await service.submit({ prompt: 'a', steps: 1, width: 64, height: 64, checkpoint_name: 'realistic-vision-v6' },
      { target_server_alias: 'One' }), 'completed')
    await service.request('POST', '/api/v1/servers/One/test')
    const after = (await listed(service, 'search=realistic')).models[0]
    t.match(after, { id: before?.id, hash_autov2: /^[0-9a-f]{10}$/ })
    t.match(after?.servers[0], { alias: 'One', title: /^realistic-vision-v6.safetensors \[[0-9a-f]{10}\]$/ })
    await service.request('PUT', '/api/v1/servers/Two', { enabled: false })
    t.equal((await listed(service, 'search=realistic')).models[0]?.id, before?.id)
    t.equal((await listed(service, 'search=here&type=checkpoint')).total, 0, 'what no server has any more is gone')
  })
})
