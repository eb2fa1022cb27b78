import { createHash } from 'node:crypto'
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startService, type JsonBody } from '../helper.ts'
import { startFakeCivitai } from './fake-civitai.ts'
import { folderWith, safetensors, scan, scanned } from './files.ts'

const shaOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const drawn = safetensors({}, 20)
const latin1 = Buffer.from('{"notes":"M\xfcnster"}', 'latin1')
const numbers = '{"seed":12345678901234567890, "scale": 1.0,"fine":0.12345678901234567891,\n"notes":"old"}'
const helpers = {
  id: 500,
  name: 'Whole Model',
  type: 'LORA',
  description: '<p>of all</p>',
  tags: ['whole'],
  modelVersions: [
    { id: 503, name: 'v3', baseModel: 'Pony', trainedWords: ['third'], files: [{ name: 'other.safetensors', hashes: { SHA256: 'F'.repeat(64) } }] },
    { id: 502, name: 'v2', baseModel: 'Illustrious', trainedWords: ['second'], files: [{ name: 'x', hashes: { SHA256: shaOf(safetensors({}, 21)).toUpperCase() } }] }
  ]
}

t.test('texts that people wrote beside their models', async t => {
  const civitai = await startFakeCivitai(t)
  const version = {
    id: 22,
    modelId: 11,
    name: 'v2',
    baseModel: 'Illustrious',
    trainedWords: ['first words'],
    model: { name: 'Drawn', type: 'LORA' },
    files: [{ name: 'drawn.safetensors', hashes: { SHA256: shaOf(drawn).toUpperCase() } }]
  }
  const answer = (more: object) => { civitai.answers.set(`/model-versions/by-hash/${shaOf(drawn)}`, { ...version, ...more }) }
  answer({})
  civitai.answers.set('/models/11', { id: 11, name: 'Drawn', type: 'LORA', description: '<p>Draws <b>lines</b></p>', tags: ['ink'] })
  const folder = await folderWith(t, {
    'busy.safetensors': safetensors({}, 1),
    'busy.json': { extra: { kept: true } },
    'numbers.safetensors': safetensors({}, 2),
    'numbers.json': numbers,
    'latin.safetensors': safetensors({}, 3),
    'latin.json': latin1,
    'Case.safetensors': safetensors({}, 4),
    'case.safetensors': safetensors({}, 5),
    'case.json': { notes: 'lower' },
    'tail.safetensors': safetensors({}, 6),
    'tail.civitai.safetensors': safetensors({}, 7),
    'tail.civitai.json': { notes: 'of the longer' },
    'drawn.safetensors': drawn,
    'whole.safetensors': safetensors({}, 21),
    'whole.civitai.info': helpers,
    'list.safetensors': safetensors({}, 22),
    'list.json': '[1]',
    'stem.safetensors': safetensors({}, 23),
    'stem.pt': 'another model of that stem',
    'linked.safetensors': safetensors({}, 24)
  })
  const outside = await folderWith(t, { 'secret.json': { notes: 'hunter2' } })
  await symlink(join(outside, 'secret.json'), join(folder, 'linked.json'))
  const settings = { MASTER_KEY: '5'.repeat(64), LORA_DIR: folder, CIVITAI_BASE_URL: civitai.url, CIVITAI_INTERVAL_SECONDS: '0.01' }
  const service = await startService(t, { settings })
  const other = await startService(t, { settings, redis: service.redis, worker: 'none', servers: {} })
  const first = await scanned(service)
  const get = async (name: string) =>
    (await service.request('GET', `/api/v1/models/${encodeURIComponent(name)}`)).body.model as JsonBody
  const update = async (filename: string, field: string, value: unknown, through = service) =>
    await through.request('PUT', '/api/v1/models/update-field', { filename, field, value })
  const refresh = async (name: string, body: object = {}) =>
    await service.request('POST', `/api/v1/models/${name}/refresh-metadata`, body)
  const json = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8')) as JsonBody

  t.test('survive simultaneous writes, in this process and another', async t => {
    civitai.answers.set(`/model-versions/by-hash/${shaOf(safetensors({}, 1))}`, { ...version, id: 30, trainedWords: ['of Civitai'] })
    const answers = await Promise.all([
      update('busy.safetensors', 'notes', 'my notes'),
      update('busy.safetensors', 'trigger_words', 'my words', other),
      refresh('busy.safetensors'),
      update('busy.safetensors', 'recommended_weight', 0.5, other),
      update('busy.safetensors', 'description', 'my description'),
      update('busy.safetensors', 'civitai_nsfw', true, other)
    ])
    t.same(answers.map(({ status }) => status), answers.map(() => 200))
    t.match(await json('busy.json'), {
      extra: { kept: true }, notes: 'my notes', 'activation text': 'my words', 'preferred weight': 0.5, description: 'my description'
    })
    t.match(await json('busy.civitai.json'), { id: 30, marked_nsfw: true })
    t.match(await get('busy.safetensors'), {
      notes: 'my notes', trigger_words: ['my words'], recommended_weight: 0.5, description: 'my description', civitai_nsfw: true
    })
    t.same((await readdir(folder)).filter(name => name.endsWith('.part')), [])
  })

  t.test('keep every digit and letter that was not changed', async t => {
    t.equal((await update('numbers.safetensors', 'notes', 'new')).status, 200)
    t.equal(await readFile(join(folder, 'numbers.json'), 'utf8'), numbers.replace('"old"', '"new"'))
  })

  t.test('stay unchanged if they are unreadable, and the scan reports where and why', async t => {
    for (const { status, body } of [await update('latin.safetensors', 'notes', 'x'), await update('list.safetensors', 'notes', 'x')]) {
      t.match({ status, body }, { status: 409, body: { error: 'model_not_writable', message: /(latin|list)\.json (is not valid UTF-8|is not a JSON object)/ } })
    }
    civitai.answers.set(`/model-versions/by-hash/${shaOf(safetensors({}, 3))}`, { ...version, id: 31 })
    t.match(await refresh('latin.safetensors'), { status: 409, body: { error: 'model_not_writable', message: /latin\.json is not valid UTF-8/ } })
    t.match(await get('latin.safetensors'), { civitai_version_id: 31 }, 'what Civitai said is kept')
    t.same(await readFile(join(folder, 'latin.json')), latin1)
    for (const status of [first, await scan(service)]) {
      const reported = status.unreadable_sidecars as Array<{ path: string, reason: string }>
      t.same(reported.map(({ path }) => path).sort(), ['latin.json', 'linked.json', 'list.json'].map(name => join(folder, name)))
      t.match(reported.find(({ path }) => path.endsWith('latin.json'))?.reason, /not valid UTF-8/)
      t.match(status.problems, [/latin\.json is not valid UTF-8/])
    }
    t.same(JSON.parse(await readFile(join(outside, 'secret.json'), 'utf8')), { notes: 'hunter2' })
  })

  t.test('stay separate if names differ in case only', async t => {
    t.match(await get('case.safetensors'), { notes: 'lower' })
    t.match(await get('Case.safetensors'), { notes: null })
    t.match((await update('Case.safetensors', 'notes', 'upper')).body, { model: { filename: 'Case.safetensors', notes: 'upper' } })
    t.same([await json('Case.json'), await json('case.json')], [{ notes: 'upper' }, { notes: 'lower' }])
    t.match((await service.request('DELETE', '/api/v1/models/Case.safetensors')).body, {
      deletedFiles: [{ type: 'model', path: 'Case.safetensors' }, { type: 'sidecar', path: 'Case.json' }]
    })
    t.match(await get('case.safetensors'), { notes: 'lower' })
  })

  t.test('stay separate if a name continues like a sidecar\'s ending', async t => {
    t.match(await get('tail.civitai.safetensors'), { notes: 'of the longer' })
    t.match(await get('tail.safetensors'), { notes: null })
    t.match((await update('tail.safetensors', 'civitai_nsfw', true)).body, { model: { filename: 'tail.safetensors', civitai_nsfw: true } })
    t.same(await json('tail.civitai.json'), { notes: 'of the longer' })
    t.match((await service.request('DELETE', '/api/v1/models/tail.safetensors')).body, { clearedCount: 1 })
    t.same(await json('tail.civitai.json'), { notes: 'of the longer' })
    t.notOk((await readdir(folder)).includes('tail.safetensors.civitai.json'))
  })

  t.test('stay separate if two models have one stem', async t => {
    civitai.answers.set(`/model-versions/by-hash/${shaOf(Buffer.from('another model of that stem'))}`, { ...version, id: 40 })
    t.match(await refresh('stem.pt'), { status: 200, body: { metadata: { civitai_version_id: 40 } } })
    t.equal((await update('stem.pt', 'notes', 'of the old one')).status, 200)
    t.match(await get('stem.safetensors'), { civitai_version_id: null, notes: null })
    t.match(await get('stem.pt'), { civitai_version_id: 40, notes: 'of the old one' })
  })

  t.test('are distinguished from the service\'s own texts, which go with their source', async t => {
    t.equal((await refresh('drawn.safetensors')).status, 200)
    t.match(await json('drawn.json'), { 'sd version': 'SDXL', 'activation text': 'first words', description: 'Draws lines' })
    const drawnNow = async () => await get('drawn.safetensors')
    t.match(await drawnNow(), {
      base_model: 'Illustrious', trigger_words: ['first words'], description: '<p>Draws <b>lines</b></p>', metadata_source: 'civitai'
    })
    answer({ trainedWords: ['second words'] })
    t.equal((await refresh('drawn.safetensors')).status, 200)
    t.match(await drawnNow(), { trigger_words: ['second words'] })
    t.match(await json('drawn.json'), { 'activation text': 'second words' })
    await update('drawn.safetensors', 'trigger_words', 'my own')
    answer({ trainedWords: ['third words'] })
    t.equal((await refresh('drawn.safetensors')).status, 200)
    t.match(await drawnNow(), { trigger_words: ['my own'], base_model: 'Illustrious' })
    t.match(await json('drawn.json'), { 'activation text': 'my own' })
    await update('drawn.safetensors', 'trigger_words', null)
    t.match(await drawnNow(), { trigger_words: ['third words'] })
  })

  t.test('have nothing of another version beside them', async t => {
    civitai.answers.set('/model-versions/77', { ...version, id: 77, stats: { downloadCount: 5 } })
    await refresh('drawn.safetensors', { modelVersionId: 77 })
    t.match(await json('drawn.civitai.json'), { id: 77, stats: { downloadCount: 5 } })
    await refresh('drawn.safetensors')
    t.match(await json('drawn.civitai.json'), { id: 22, stats: undefined })
  })

  t.test('a .civitai.info of a whole model gives the data of the file\'s version', async t => {
    t.match(await get('whole.safetensors'), {
      name: 'Whole Model',
      civitai_id: 500,
      civitai_version_id: 502,
      base_model: 'Illustrious',
      trigger_words: ['second'],
      description: '<p>of all</p>',
      metadata_source: 'civitai'
    })
  })
})

t.test('equal files with different texts', async t => {
  const same = safetensors({}, 1)
  const twin = safetensors({}, 2)
  const lone = safetensors({}, 3)
  const folder = await folderWith(t, {
    'told.safetensors': same,
    'told.civitai.info': { id: 2, modelId: 1, model: { name: 'Told', type: 'LORA' } },
    'told.civitai.json': { id: 2, modelId: 1 },
    'told.preview.png': 'one picture',
    'noted/again.safetensors': same,
    'noted/again.json': '{"notes": "the only notes", "id of somebody": 12345678901234567890, "scale": 1.0}',
    'noted/again.preview.png': 'another picture',
    'third/more.safetensors': same,
    'third/more.json': { notes: 'other notes', 'activation text': 'words', 'preferred weight': 0.8 },
    'twin.safetensors': twin,
    'twin.json': { notes: 'kept' },
    'away/twin.safetensors': twin,
    'away/twin.json': Buffer.from('{"notes":"M\xfcnster"}', 'latin1'),
    'lone.safetensors': lone,
    'lone.json': { notes: 'beside the first' },
    'z/lone.safetensors': lone
  })
  const service = await startService(t, { settings: { LORA_DIR: folder } })
  await scanned(service)
  const json = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8')) as JsonBody
  type Group = { hash: string, written: JsonBody, files: JsonBody[] }
  const groups = async () => (await service.request('GET', '/api/v1/models/duplicates')).body.groups as Group[]
  const group = async (part: string) =>
    (await groups()).find(({ files }) => files.some(({ path }) => String(path).includes(part)))
  const cleanUp = async (part: string) =>
    await service.request('POST', '/api/v1/models/cleanup-duplicates', { hashes: [(await group(part))?.hash] })

  t.test('show all of them', async t => {
    const found = await group('told')
    t.match(found?.files.map(({ path, written }) => [path, (written as JsonBody).notes]), [
      ['third/more.safetensors', 'other notes'], ['noted/again.safetensors', 'the only notes'], ['told.safetensors', null]
    ])
    t.match(found?.written, { notes: 'other notes\n\nthe only notes', trigger_words: ['words'], recommended_weight: 0.8 })
  })

  t.test('lose none in a cleanup', async t => {
    const { body } = await cleanUp('told')
    t.match(body, { success: true, clearedCount: 2, errors: [] })
    t.same((await readdir(folder, { recursive: true })).filter(name => /told|again|more/.test(name)).sort(),
      ['third/more.civitai.info', 'third/more.civitai.json', 'third/more.json', 'third/more.png', 'third/more.preview.png', 'third/more.safetensors'])
    t.match(await json('third/more.json'), { notes: 'other notes\n\nthe only notes', 'activation text': 'words', 'preferred weight': 0.8 })
    t.match(await readFile(join(folder, 'third/more.json'), 'utf8'), /"id of somebody": 12345678901234567890,\s*"scale": 1\.0/)
    t.match((await service.request('GET', '/api/v1/models/more.safetensors')).body.model,
      { notes: 'other notes\n\nthe only notes', civitai_version_id: 2 })
  })

  t.test('stay if their texts cannot be moved', async t => {
    const { body } = await cleanUp('twin')
    t.match(body, { success: false, errors: [/away\/twin\.safetensors was left alone.*not valid UTF-8/] })
    t.ok((await readdir(join(folder, 'away'))).includes('twin.safetensors'))
    await writeFile(join(folder, 'away/twin.json'), '{"notes":"Münster"}')
    await cleanUp('twin')
    t.match(await json('twin.json'), { notes: 'kept\n\nMünster' })
  })

  t.test('keep the texts when one file is deleted by hand', async t => {
    const { body } = await service.request('DELETE', '/api/v1/models/delete-from-disk', { filename: 'lone.safetensors' })
    t.match(body, { success: true, clearedCount: 1 })
    t.match(await json('z/lone.json'), { notes: 'beside the first' })
    t.match((await service.request('GET', '/api/v1/models/lone.safetensors')).body.model, { notes: 'beside the first' })
  })
})
